"""Tests: unit (pure), infra (the program under mocks), integration (real Redis and SMTP), e2e (cluster)."""
