const status = document.getElementById("status");

// The libraries stand in the page, compressed; what is unpacked has an address that only this page knows.
async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return URL.createObjectURL(new Blob([await new Response(stream).text()], { type: "text/javascript" }));
}
async function loadPlotly() {
  const script = document.createElement("script");
  script.src = await unpacked("plotly");
  const loaded = new Promise((resolve, reject) => Object.assign(script, { onload: resolve, onerror: reject }));
  document.head.append(script);
  await loaded;
}

// Dark and light: as the system has it, until the button says otherwise.
const theme = document.getElementById("theme");
const system = window.matchMedia("(prefers-color-scheme: dark)");
const dark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
const name = () => {
  theme.textContent = dark() ? "Light" : "Dark";
  theme.setAttribute("aria-label", `Change to ${dark() ? "light" : "dark"} colours`);
  document.documentElement.classList.toggle("dark", dark()); // which the style of DataTables asks for
};
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  name();
});
system.addEventListener("change", name);
name();

// Copies: a table's formats are JSON texts, a command is what stands there.
async function copy(button) {
  const source = document.getElementById(button.dataset.from);
  const text = source.tagName === "SCRIPT" ? JSON.parse(source.textContent) : source.textContent;
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed here"; // some browsers give no clipboard to a file
  }
  status.textContent = button.textContent;
  setTimeout(() => (button.textContent = words), 1500);
}
document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", () => copy(button)));

// Tables: sorted by the values that stand beside the page's words, not by these.
const { default: DataTable } = await import(await unpacked("datatables"));
document.querySelectorAll("table.grid").forEach((table) => {
  const box = table.closest(".scroll");
  const values = document.querySelector(`script[data-order-of="${table.id}"]`);
  const order = values && JSON.parse(values.textContent);
  const left = Number(table.dataset.left);
  const empty = -Infinity;
  const render = (text, type, _, place) => (type === "sort" || type === "type") && order ? order[place.row][place.col] ?? empty : text;
  for (const row of table.rows) {
    [...row.cells].forEach((cell, column) => {
      cell.classList.toggle("words", column < left);
      cell.classList.toggle("long", column < left && cell.textContent.length > 40);
    });
  }
  if (box.dataset.best) table.tBodies[0].rows[Number(box.dataset.best)].classList.add("best");
  if (!("controls" in box.dataset)) return;
  new DataTable(table, {
    paging: false,
    info: false,
    order: [],
    autoWidth: false,
    columnDefs: [{ targets: "_all", render }],
    layout: { topStart: "search", topEnd: null, bottomStart: null, bottomEnd: null },
    language: { search: "", searchPlaceholder: "Filter the rows", zeroRecords: "No row has these words" },
  });
  box.querySelector("input[type=search]").setAttribute("aria-label", "Filter the rows");
});
// Figures: those in a closed fold have no width yet and are drawn when it opens.
function draw(plot) {
  if (plot.dataset.drawn || plot.closest("details:not([open])")) return;
  plot.dataset.drawn = "yes";
  const { data, layout } = JSON.parse(document.querySelector(`script[data-for="${plot.id}"]`).textContent);
  const buttons = ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"];
  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: buttons };
  // the words of the figure stand in its label: what is drawn would be read as loose numbers
  Plotly.newPlot(plot, data, { ...layout, autosize: true }, options).then(() => plot.querySelectorAll(".main-svg").forEach((svg) => svg.setAttribute("aria-hidden", "true")));
}
const drawAll = () => document.querySelectorAll(".plot").forEach(draw);
await loadPlotly();
drawAll();
document.querySelectorAll("details").forEach((fold) => fold.addEventListener("toggle", drawAll));
document.documentElement.dataset.ready = "yes";
