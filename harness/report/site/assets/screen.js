// A small terminal: as much of ECMA-48 and the VT100 as kernels, shells and build scripts write.
"use strict";
class Screen {
  constructor(columns = 80, lines = 25) {
    this.columns = columns;
    this.height = lines;
    this.reset();
  }
  reset() {
    this.cells = Array.from({ length: this.height }, () => this.blank());
    this.x = this.y = 0;
    this.style = "";
    this.sgr = { bold: false, inverse: false, fore: -1, back: -1 };
    this.saved = [0, 0];
    this.rest = "";
  }
  blank() { return Array.from({ length: this.columns }, () => [" ", ""]); }

  write(text) {
    text = this.rest + text;
    this.rest = "";
    let place = 0;
    while (place < text.length) {
      const letter = text[place];
      if (letter === "\x1b") {
        const used = this.escape(text, place);
        if (!used) { this.rest = text.slice(place, place + 256); return; } // the rest is still to come
        place += used;
      } else {
        this.put(letter);
        place++;
      }
    }
  }
  put(letter) {
    if (letter === "\n") this.down();
    else if (letter === "\r") this.x = 0;
    else if (letter === "\b") this.x = Math.max(0, this.x - 1);
    else if (letter === "\t") this.x = Math.min(this.columns - 1, (this.x | 7) + 1);
    else if (letter >= " " && letter !== "\x7f") {
      if (this.x >= this.columns) { this.x = 0; this.down(); }
      this.cells[this.y][this.x++] = [letter, this.style];
    }
  }
  down() {
    if (this.y < this.height - 1) this.y++;
    else { this.cells.shift(); this.cells.push(this.blank()); }
  }
  // How many letters the sequence has; 0 if its end is not there yet.
  escape(text, place) {
    const rest = text.slice(place, place + 256);
    let match = /^\x1b\[([0-?]*)[ -/]*([@-~])/.exec(rest);
    if (match) { this.control(match[1], match[2]); return match[0].length; }
    match = /^\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)/.exec(rest) || /^\x1b[ -/]*[0-Z\\^-~]/.exec(rest);
    if (match) {
      if (match[0] === "\x1bc") this.reset();
      else if (match[0] === "\x1b7") this.saved = [this.x, this.y];
      else if (match[0] === "\x1b8") [this.x, this.y] = this.saved;
      else if (match[0] === "\x1bM") this.y = Math.max(0, this.y - 1);
      return match[0].length;
    }
    return rest.length < 256 && !/[\r\n]/.test(rest) ? 0 : 1;
  }
  control(parameters, letter) {
    if (/[<-?]/.test(parameters)) return; // modes of the terminal's own
    const numbers = parameters.split(/[;:]/).map((word) => parseInt(word, 10) || 0);
    const count = Math.max(1, numbers[0]);
    const clamp = (value, top) => Math.max(0, Math.min(top - 1, value));
    switch (letter) {
      case "A": this.y = clamp(this.y - count, this.height); break;
      case "B": case "e": this.y = clamp(this.y + count, this.height); break;
      case "C": case "a": this.x = clamp(this.x + count, this.columns); break;
      case "D": this.x = clamp(this.x - count, this.columns); break;
      case "E": this.x = 0; this.y = clamp(this.y + count, this.height); break;
      case "F": this.x = 0; this.y = clamp(this.y - count, this.height); break;
      case "G": case "`": this.x = clamp(count - 1, this.columns); break;
      case "d": this.y = clamp(count - 1, this.height); break;
      case "H": case "f":
        this.y = clamp(count - 1, this.height);
        this.x = clamp((numbers[1] || 1) - 1, this.columns);
        break;
      case "J": this.erase(numbers[0]); break;
      case "K": this.eraseLine(this.y, numbers[0]); break;
      case "X": for (let n = 0; n < count && this.x + n < this.columns; n++) this.cells[this.y][this.x + n] = [" ", ""]; break;
      case "P": this.cells[this.y].splice(this.x, count); this.fill(this.y); break;
      case "@": this.cells[this.y].splice(this.x, 0, ...this.blank().slice(0, count)); this.fill(this.y); break;
      case "s": this.saved = [this.x, this.y]; break;
      case "u": [this.x, this.y] = this.saved; break;
      case "m": this.graphics(parameters === "" ? [0] : numbers); break;
    }
  }
  fill(line) {
    const row = this.cells[line];
    while (row.length < this.columns) row.push([" ", ""]);
    row.length = this.columns;
  }
  erase(how) {
    if (how >= 2) { this.cells = this.cells.map(() => this.blank()); return; }
    this.eraseLine(this.y, how);
    for (let line = 0; line < this.height; line++)
      if (how === 1 ? line < this.y : line > this.y) this.cells[line] = this.blank();
  }
  eraseLine(line, how) {
    const from = how === 0 ? this.x : 0, to = how === 1 ? this.x + 1 : this.columns;
    for (let x = from; x < to && x < this.columns; x++) this.cells[line][x] = [" ", ""];
  }
  graphics(numbers) {
    const sgr = this.sgr;
    for (let n = 0; n < numbers.length; n++) {
      const code = numbers[n];
      if (code === 0) Object.assign(sgr, { bold: false, inverse: false, fore: -1, back: -1 });
      else if (code === 1) sgr.bold = true;
      else if (code === 22) sgr.bold = false;
      else if (code === 7) sgr.inverse = true;
      else if (code === 27) sgr.inverse = false;
      else if (code >= 30 && code < 38) sgr.fore = code - 30;
      else if (code >= 90 && code < 98) sgr.fore = code - 82;
      else if (code === 39) sgr.fore = -1;
      else if (code >= 40 && code < 48) sgr.back = code - 40;
      else if (code === 49) sgr.back = -1;
      else if (code === 38 || code === 48) n += numbers[n + 1] === 5 ? 2 : 4; // palettes of terminals of today
    }
    const palette = ["#3b4048", "#ff7b82", "#7fdca4", "#f4c66b", "#83bbfa", "#d7a6ff", "#77d9de", "#d7dce3"];
    let fore = sgr.fore < 0 ? "" : palette[sgr.fore % 8], back = sgr.back < 0 ? "" : palette[sgr.back];
    if (sgr.inverse) [fore, back] = [back || "#0d1014", fore || "#d7dce3"];
    this.style = (fore && `color:${fore};`) + (back && `background:${back};`) + (sgr.bold ? "font-weight:700;" : "");
  }

  draw(element) {
    const found = document.createDocumentFragment();
    this.cells.forEach((row, line) => {
      let text = "", style = "";
      const flush = () => {
        if (!text) return;
        if (style) {
          const span = document.createElement("span");
          span.style.cssText = style;
          span.textContent = text;
          found.append(span);
        } else found.append(text);
        text = "";
      };
      row.forEach(([letter, its], x) => {
        if (line === this.y && x === Math.min(this.x, this.columns - 1)) its = "background:#d7dce3;color:#0d1014;";
        if (its !== style) { flush(); style = its; }
        text += letter;
      });
      flush();
      found.append("\n");
    });
    element.replaceChildren(found);
  }
}
