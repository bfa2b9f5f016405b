-- wrk's script: POST /tasks with a body that differs from request to request; the figures as one JSON line.
local number = 0

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

function request()
  number = number + 1
  local body = string.format(
    '{"type":"email","data":{"subject":"Order %d","recipient":"user%d@load.example.com",' ..
    '"content":"Dear customer, your order %d has left our house today and will be with you soon."}}',
    number, number % 10000, number)
  return wrk.format(nil, nil, nil, body)
end

function done(summary, latency, requests)
  io.write(string.format(
    'FIGURES {"requests":%d,"duration_us":%d,"refused":%d,"broken":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
