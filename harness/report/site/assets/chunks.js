// Loads the pieces of a console: scripts, because pages from a disk may load no other files.
"use strict";
const chunks = (() => {
  const KEPT = 48; // pieces in memory
  const waiting = new Map();
  const loaded = new Map(); // the least recently used first
  let index = null;

  function script(path) {
    return new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = path;
      element.onload = () => { element.remove(); resolve(); };
      element.onerror = () => { element.remove(); reject(new Error(`cannot load ${path}`)); };
      document.head.append(element);
    });
  }

  async function inflated(data) {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return JSON.parse(await new Response(stream).text());
  }

  globalThis.harnessIndex = (value) => { index = value; };
  globalThis.harnessChunk = (kind, number, data) => waiting.set(`${kind}/${number}`, data);

  return {
    async index(kind) {
      await script(`${kind}/index.js`);
      return index;
    },
    // A promise of a piece; `keep` is false for one that only passes through.
    load(kind, number, keep = true) {
      const name = `${kind}/${number}`;
      let piece = loaded.get(name);
      if (piece) loaded.delete(name);
      else {
        piece = script(`${kind}/${String(number).padStart(5, "0")}.js`).then(() => {
          const data = waiting.get(name);
          waiting.delete(name);
          return inflated(data);
        });
        piece.catch(() => loaded.delete(name));
      }
      if (keep) {
        loaded.set(name, piece);
        if (loaded.size > KEPT) loaded.delete(loaded.keys().next().value);
      }
      return piece;
    },
  };
})();
