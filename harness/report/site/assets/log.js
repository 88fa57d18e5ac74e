// The log viewer: shows the lines that are in sight, and loads the pieces that hold them.
"use strict";
(async () => {
  const LINE = 20; // pixels, as in report.css
  const TALLEST = 8_000_000; // pixels; browsers end somewhere above. Longer logs are scrolled in proportion.
  const $ = (name) => document.getElementById(name);
  const view = $("log"), tall = $("tall"), rows = $("rows");
  $("viewer").hidden = false;
  let index;
  try {
    index = await chunks.index("log");
  } catch {
    rows.textContent = "This run has no console log.";
    return;
  }
  const total = index.lines;
  const height = Math.min(total * LINE, TALLEST);
  const scaled = total * LINE > TALLEST;
  tall.style.height = `${Math.max(height, LINE)}px`;
  const stages = new Map([...$("stage").options].slice(1, -1).map((o) => [Number(o.value) - 1, o.textContent]));
  const fits = () => Math.ceil(view.clientHeight / LINE);
  const lowest = () => Math.max(0, total - Math.floor(view.clientHeight / LINE));
  let top = 0; // first line in sight; a fraction of a line counts
  let here = -1; // the line that is marked
  let pattern = null;
  let drawing = 0;
  let expected = -1; // where we put the scroll bar

  function chunkOf(line) {
    let low = 0, high = index.chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (index.chunks[middle][0] <= line) low = middle; else high = middle - 1;
    }
    return low;
  }
  function prepared(piece) {
    if (!piece.lines) {
      piece.lines = piece.text.split("\n");
      piece.text = null;
    }
    return piece;
  }
  function timeOf(piece, line) {
    let low = 0, high = piece.times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (piece.times[middle][0] <= line) low = middle; else high = middle - 1;
    }
    return piece.times[low][1] / 1000;
  }

  async function draw() {
    const turn = ++drawing;
    if (!total) return;
    const first = Math.max(0, Math.floor(top));
    const last = Math.min(total, first + fits() + 1);
    const from = chunkOf(first), to = chunkOf(Math.max(first, last - 1));
    const pieces = [];
    try {
      for (let number = from; number <= to; number++) pieces.push(prepared(await chunks.load("log", number)));
    } catch (error) {
      $("found").textContent = error.message;
      return;
    }
    if (turn !== drawing) return; // the user scrolled on meanwhile
    const found = document.createDocumentFragment();
    for (const piece of pieces) {
      const begin = Math.max(first, piece.first), end = Math.min(last, piece.first + piece.lines.length);
      for (let line = begin; line < end; line++) found.append(row(piece, line));
    }
    rows.replaceChildren(found);
    rows.style.transform = `translateY(${Math.round(view.scrollTop - (top - first) * LINE)}px)`;
  }
  function row(piece, line) {
    const element = document.createElement("div");
    element.className = line === here ? "row here" : "row";
    if (stages.has(line)) {
      element.classList.add("begins");
      element.dataset.stage = `← ${stages.get(line)}`;
    }
    const number = document.createElement("a");
    number.href = `#L${line + 1}`;
    number.tabIndex = -1;
    number.textContent = line + 1;
    const time = document.createElement("i");
    time.textContent = timeOf(piece, line - piece.first).toFixed(3);
    const text = document.createElement("span");
    marked(text, piece.lines[line - piece.first]);
    element.append(number, time, text);
    return element;
  }
  function marked(element, text) {
    if (!pattern) { element.textContent = text; return; }
    let end = 0;
    pattern.lastIndex = 0; // a search may have left it somewhere
    for (const match of text.matchAll(pattern)) {
      if (!match[0]) continue;
      const mark = document.createElement("mark");
      mark.textContent = match[0];
      element.append(text.slice(end, match.index), mark);
      end = match.index + match[0].length;
    }
    element.append(text.slice(end));
  }

  function go(line, options = {}) {
    top = Math.max(0, Math.min(lowest(), line));
    const room = Math.max(1, tall.offsetHeight - view.clientHeight);
    const wanted = scaled ? Math.round(top / Math.max(1, lowest()) * room) : Math.round(top * LINE);
    if (!options.scrolled && Math.abs(view.scrollTop - wanted) >= 1) {
      view.scrollTop = wanted;
      expected = view.scrollTop;
    }
    draw();
  }
  function show(line) {
    here = line;
    go(line - Math.floor(fits() / 3));
  }
  view.addEventListener("scroll", () => {
    if (expected >= 0 && Math.abs(view.scrollTop - expected) < 1) { expected = -1; draw(); return; }
    expected = -1;
    const room = Math.max(1, tall.offsetHeight - view.clientHeight);
    go(scaled ? view.scrollTop / room * lowest() : view.scrollTop / LINE, { scrolled: true });
  });
  view.addEventListener("wheel", (event) => {
    if (!scaled || event.ctrlKey || event.shiftKey || !event.deltaY) return;
    event.preventDefault(); // a step of the scroll bar would be many lines
    go(top + event.deltaY / (event.deltaMode ? 1 : LINE) * (event.deltaMode === 2 ? fits() : 1));
  }, { passive: false });
  view.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: fits() - 2, PageUp: 2 - fits(), " ": fits() - 2 };
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in steps) go(Math.round(top) + steps[event.key] * (event.key === " " && event.shiftKey ? -1 : 1));
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(lowest());
    else if (event.key === "n") find(event.shiftKey ? -1 : 1);
    else if (event.key === "N") find(-1);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(() => go(top)).observe(view);

  // Searching passes through the pieces one by one, from the marked line on.
  let searching = 0;
  function compiled() {
    const text = $("find").value;
    if (!text) return null;
    const plain = text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    // Capital letters are meant where they are typed.
    return new RegExp($("regexp").checked ? text : plain, /[A-Z]/.test(text) ? "g" : "gi");
  }
  async function find(step) {
    const turn = ++searching;
    const said = $("found");
    try {
      pattern = compiled();
    } catch (error) {
      said.textContent = error.message.replace(/^Invalid regular expression: /, "no pattern: ");
      return;
    }
    if (!pattern || !total) { said.textContent = ""; draw(); return; }
    const count = index.chunks.length;
    const start = here >= 0 ? here + step : Math.floor(top);
    const begin = chunkOf(Math.max(0, Math.min(total - 1, start)));
    for (let turned = 0; turned <= count; turned++) {
      const number = (((begin + step * turned) % count) + count) % count;
      let piece;
      try {
        piece = prepared(await chunks.load("log", number, false));
      } catch (error) {
        said.textContent = error.message;
        return;
      }
      if (turn !== searching) return; // another search began
      let line = step > 0 ? 0 : piece.lines.length - 1;
      if (turned === 0) line = step > 0 ? Math.max(0, start - piece.first) : Math.min(line, start - piece.first);
      for (; line >= 0 && line < piece.lines.length; line += step) {
        pattern.lastIndex = 0;
        if (pattern.test(piece.lines[line])) {
          said.textContent = `line ${piece.first + line + 1}`;
          show(piece.first + line);
          history.replaceState(null, "", `#L${here + 1}`);
          return;
        }
      }
      if (turned % 16 === 15) said.textContent = `searching: ${Math.round((turned / count) * 100)} %`;
    }
    said.textContent = "not found";
    draw();
  }
  $("search").addEventListener("submit", (event) => { event.preventDefault(); find(1); });
  $("back").addEventListener("click", () => find(-1));
  $("find").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.shiftKey) { event.preventDefault(); find(-1); }
  });
  $("stage").addEventListener("change", (event) => {
    const value = event.target.value;
    if (value === "end") go(lowest());
    else { here = Number(value) - 1; go(here); }
  });
  function followAddress() {
    const match = /^#L(\d+)$/.exec(location.hash);
    if (match) show(Math.min(total, Number(match[1])) - 1);
    return match;
  }
  addEventListener("hashchange", followAddress);
  if (!followAddress()) go(0);
})();
