// What the page does besides links, forms and htmx: confirmation, uploads with progress, events of a job,
// judgements of hits, and short histories of figures. Without it every form still works.
"use strict";

const JUDGED = "tandem-judgements";
const HISTORY = 40;
const histories = new Map();

addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

// Uploads: files that are dropped, and how much of them is sent.
function sendFiles(form, files) {
  const data = new FormData();
  for (const name of ["csrf", "collection"]) data.append(name, form.elements[name].value);
  for (const [file, path] of files) data.append("files", file, path);
  const request = new XMLHttpRequest();
  const sending = form.querySelector(".sending");
  sending.hidden = false;
  request.upload.addEventListener("progress", (event) => {
    const share = event.lengthComputable ? Math.round((100 * event.loaded) / event.total) : 0;
    sending.querySelector("progress").value = share;
    sending.querySelector(".share").textContent = `${share} %`;
  });
  request.addEventListener("load", () => {
    if (request.status < 300) location.assign(JSON.parse(request.responseText).location);
    else { document.open(); document.write(request.responseText); document.close(); }
  });
  request.addEventListener("error", () => { sending.textContent = sending.dataset.failed; });
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.send(data);
}

async function filesOf(entry, folder) {
  if (entry.isFile) {
    const file = await new Promise((found, failed) => entry.file(found, failed));
    return [[file, folder + file.name]];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) { // a reader hands out a hundred entries at a time
    const some = await new Promise((read, failed) => reader.readEntries(read, failed));
    if (!some.length) return found;
    for (const each of some) found.push(...(await filesOf(each, `${folder}${entry.name}/`)));
  }
}

function watchUploads(root) {
  for (const form of root.querySelectorAll("[data-upload]")) {
    form.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("over"); });
    form.addEventListener("dragleave", () => form.classList.remove("over"));
    form.addEventListener("drop", async (event) => {
      event.preventDefault();
      form.classList.remove("over");
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
      const plain = [...event.dataTransfer.files].map((file) => [file, file.name]);
      const found = (await Promise.all(entries.map((entry) => filesOf(entry, "")))).flat();
      const files = entries.length ? found : plain; // where the system knows no folders
      if (files.length) sendFiles(form, files);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const inputs = [...form.querySelectorAll("input[type=file]")];
      const files = inputs.flatMap((input) => [...input.files].map((file) => [file, file.webkitRelativePath || file.name]));
      if (files.length) sendFiles(form, files);
    });
  }
}

// A job: its progress as it comes; the whole page again once it has ended.
function watchJobs(root) {
  for (const element of root.querySelectorAll("[data-events]")) {
    const source = new EventSource(element.dataset.events);
    const show = (event) => { element.innerHTML = event.data; };
    source.addEventListener("progress", show);
    source.addEventListener("ended", (event) => { show(event); source.close(); location.reload(); });
  }
}

// Judgements: kept in this browser by collection, question and document, until they are saved or forgotten.
function judgements() {
  try { return JSON.parse(localStorage.getItem(JUDGED)) || {}; } catch { return {}; }
}

function showJudgements(root) {
  const all = judgements();
  for (const group of root.querySelectorAll(".judge")) {
    const { collection, query, document: id } = group.dataset;
    const given = (all[collection] || []).find((each) => each.query === query && each.document_id === id);
    for (const button of group.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(Boolean(given) && String(given.relevant) === button.dataset.relevant));
    }
  }
  for (const form of root.querySelectorAll("[data-judgements]")) {
    const mine = all[form.dataset.judgements] || [];
    form.hidden = !mine.length;
    form.querySelector(".count").textContent = mine.length;
    form.elements.judgements.value = JSON.stringify({ collection: form.dataset.judgements, judgements: mine });
  }
}

addEventListener("click", (event) => {
  const button = event.target.closest(".judge button, [data-forget]");
  if (!button) return;
  const all = judgements();
  if (button.matches("[data-forget]")) {
    delete all[button.form.dataset.judgements];
  } else {
    const { collection, query, document: id } = button.parentElement.dataset;
    const others = (all[collection] || []).filter((each) => each.query !== query || each.document_id !== id);
    const taken = button.getAttribute("aria-pressed") === "true";
    all[collection] = taken ? others : [...others, { query, document_id: id, relevant: button.dataset.relevant === "true" }];
  }
  localStorage.setItem(JUDGED, JSON.stringify(all));
  showJudgements(document);
});

// Figures: the last values of each as a line.
function drawSparklines(root) {
  for (const element of root.querySelectorAll("[data-sparkline]")) {
    if (element.dataset.value === "") continue;
    const values = histories.get(element.dataset.sparkline) || [];
    values.push(Number(element.dataset.value));
    histories.set(element.dataset.sparkline, values.slice(-HISTORY));
    const most = Math.max(...values, 1e-9);
    const points = values.slice(-HISTORY).map((value, index) => `${(index * 100) / (HISTORY - 1)},${23 - (22 * value) / most}`);
    element.querySelector("polyline").setAttribute("points", points.join(" "));
  }
}

addEventListener("DOMContentLoaded", () => { watchUploads(document); watchJobs(document); showJudgements(document); });
addEventListener("htmx:after:swap", () => { showJudgements(document); drawSparklines(document); });
