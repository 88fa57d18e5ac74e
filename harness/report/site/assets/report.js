// What makes pages better where scripts run: a filter, keys, and reloading while a server says that they changed.
"use strict";
(() => {
  const filter = document.getElementById("filter");
  if (filter) {
    filter.parentElement.hidden = false;
    const rows = [...document.querySelectorAll("table[data-filter] tbody tr")].map((row) => {
      const labels = [...row.querySelectorAll("[aria-label]")].map((e) => e.getAttribute("aria-label"));
      return [row, `${row.textContent} ${labels.join(" ")} ${headings(row)}`.toLowerCase()];
    });
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const [row, text] of rows) row.hidden = !words.every((word) => text.includes(word));
      for (const section of document.querySelectorAll("section:has(table[data-filter])"))
        section.hidden = words.length > 0 && !section.querySelector("tbody tr:not([hidden])");
    });
  }
  function headings(row) {
    const section = row.closest("section");
    return section ? section.querySelector("h2").textContent : "";
  }

  const keys = document.querySelector("header .keys");
  if (keys) keys.hidden = false;
  const dialog = document.createElement("dialog");
  dialog.id = "keys";
  dialog.setAttribute("aria-label", "Keys");
  dialog.innerHTML =
    "<h2>Keys</h2><dl><dt><kbd>/</kbd></dt><dd>search or filter</dd><dt><kbd>j</kbd> <kbd>k</kbd></dt>" +
    "<dd>next and previous row, <kbd>Enter</kbd> opens it</dd><dt><kbd>o</kbd> <kbd>r</kbd> <kbd>p</kbd></dt>" +
    "<dd>overview, runs, produced files</dd><dt><kbd>l</kbd></dt><dd>the log of this run</dd></dl>" +
    '<form method="dialog"><button>Close</button></form>';
  document.body.append(dialog);
  const links = document.querySelectorAll("header nav a");
  let at = null;
  function move(step) {
    const rows = [...document.querySelectorAll("table.list tbody tr, table.matrix tbody tr")].filter(
      (row) => row.offsetParent && row.querySelector("a"));
    if (!rows.length) return;
    const place = rows.indexOf(at) + step;
    if (at) at.classList.remove("at");
    at = rows[Math.max(0, Math.min(rows.length - 1, place))];
    at.classList.add("at");
    at.querySelector("a").focus({ preventScroll: true });
    at.scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (event.target.matches("input:not([type=range]), select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const find = document.querySelector("#find, #filter");
    const log = document.querySelector('.tabs a[href="log.html"]');
    if (event.key === "/" && find) find.focus();
    else if (event.key === "?") dialog.showModal();
    else if (event.key === "j" || event.key === "k") move(event.key === "j" ? 1 : -1);
    else if (event.key === "o") links[0].click();
    else if (event.key === "r") links[1].click();
    else if (event.key === "p") links[2].click();
    else if (event.key === "l" && log) log.click();
    else return;
    event.preventDefault();
  });

  // `harness serve` says which version of a page it has; other servers do not, and are left in peace.
  if (location.protocol.startsWith("http")) {
    let known = null;
    const look = async () => {
      try {
        const answer = await fetch(location.pathname, { method: "HEAD", cache: "no-store" });
        const version = answer.headers.get("X-Harness-Version");
        if (version === null) return;
        const busy = document.hidden || document.querySelector("input:focus, dialog[open]");
        if (known === null) known = version;
        else if (version !== known && !busy) { location.reload(); return; }
      } catch { /* the server is gone; it may come again */ }
      setTimeout(look, 2000);
    };
    look();
  }
})();
