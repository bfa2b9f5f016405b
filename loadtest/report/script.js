// Reads the chart at the pointer: a line over all panels, and every value of that second above them.
const chart = document.getElementById("chart");
const readout = document.getElementById("readout");
if (chart) {
  const { left, plot, from, to } = Object.fromEntries(
    Object.entries(chart.dataset).map(([name, value]) => [name, Number(value)]));
  const cursor = document.getElementById("cursor");
  const names = DATA.names.map((name) => name.split("|"));
  const clock = (s) => `${s < 0 ? "-" : ""}${Math.floor(Math.abs(s) / 60)}:${String(Math.floor(Math.abs(s) % 60)).padStart(2, "0")}`;
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const x = (event.clientX - box.left) * chart.viewBox.baseVal.width / box.width;
    const second = from + (to - from) * (x - left) / plot;
    const row = DATA.rows.reduce((best, next) => Math.abs(next[0] - second) < Math.abs(best[0] - second) ? next : best);
    const at = left + plot * (row[0] - from) / ((to - from) || 1);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    readout.innerHTML = `<b>${clock(row[0])}</b>` + names.map(([name, colour, unit], index) =>
      row[index + 1] === null ? "" :
        `<i><span style="color:var(--${colour})">●</span> ${name} <b>${row[index + 1]}${unit}</b></i>`).join("");
  });
}
