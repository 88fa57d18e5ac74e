// Plays a console as it was: pieces of output, each at its time.
"use strict";
(async () => {
  const $ = (name) => document.getElementById(name);
  const IDLE = 2; // seconds to which silences are cut
  $("player").hidden = false;
  let index;
  try {
    index = await chunks.index("replay");
  } catch {
    $("screen").textContent = "This run has no recording.";
    return;
  }
  const screen = new Screen();
  let number = 0, place = 0; // of the next event
  let now = 0; // seconds of the film
  let playing = false, before = 0, turn = 0;

  function shown() {
    screen.draw($("screen"));
    $("seek").value = now;
    $("clock").textContent = `${now.toFixed(1)} s of ${index.seconds.toFixed(1)} s`;
  }
  // Write what came until a moment; false when another call took over meanwhile.
  async function until(moment, mine) {
    while (number < index.chunks.length && index.chunks[number] <= moment) {
      const events = await chunks.load("replay", number);
      if (mine !== turn) return false;
      while (place < events.length && events[place][0] / 1000 <= moment) screen.write(events[place++][1]);
      if (place < events.length) break;
      number++;
      place = 0;
    }
    now = Math.min(moment, index.seconds);
    return true;
  }
  async function next() {
    if (number >= index.chunks.length) return Infinity;
    const events = await chunks.load("replay", number);
    return place < events.length ? events[place][0] / 1000 : index.chunks[number + 1] ?? Infinity;
  }
  async function seek(moment) {
    const mine = ++turn;
    let begin = 0;
    while (begin + 1 < index.chunks.length && index.chunks[begin + 1] <= moment) begin++;
    // A piece before it fills the screen; what is older has scrolled away.
    screen.reset();
    number = Math.max(0, begin - 1);
    place = 0;
    if (await until(moment, mine)) shown();
    before = performance.now();
    if (playing) frame(mine);
  }
  async function frame(mine) {
    if (!playing || mine !== turn) return;
    const at = performance.now();
    let moment = now + ((at - before) / 1000) * Number($("speed").value);
    before = at;
    const coming = await next();
    if ($("idle").checked && coming - now > IDLE && coming !== Infinity) moment = Math.max(moment, coming - IDLE);
    if (!(await until(moment, mine))) return;
    shown();
    if (now >= index.seconds) { set(false); return; }
    requestAnimationFrame(() => frame(mine));
  }
  function set(value) {
    playing = value;
    $("play").textContent = playing ? "❚❚ Pause" : "▶ Play";
    $("play").setAttribute("aria-pressed", String(playing));
    if (!playing) return;
    if (now >= index.seconds) { seek(0); return; }
    before = performance.now();
    frame(++turn);
  }
  $("play").addEventListener("click", () => set(!playing));
  $("seek").addEventListener("input", (event) => seek(Number(event.target.value)));
  $("jump").addEventListener("change", (event) => seek(Number(event.target.value)));
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("select, input[type=search]") || event.ctrlKey || event.altKey) return;
    if (event.key === " " && !event.target.matches("button, input[type=checkbox], a")) set(!playing);
    else if (event.key === "ArrowRight") seek(Math.min(index.seconds, now + 5));
    else if (event.key === "ArrowLeft") seek(Math.max(0, now - 5));
    else return;
    event.preventDefault();
  });
  const wanted = /^#t=([\d.]+)$/.exec(location.hash);
  await seek(wanted ? Number(wanted[1]) : 0);
})();
