/* What the page does in the browser: pictures laid over each other with zoom, places set by hand, files too large. */

/* Pictures of one result, one view at a time. Zoom and place are shared by all views that show the same field, so that
   one spot can be looked at in each of them. See `viewer_html` for the markup. */
class Viewer extends HTMLElement {
  connectedCallback() {
    if (this.stage || !this.querySelector(".rm-stage")) return;
    this.stage = this.querySelector(".rm-stage");
    this.views = [...this.querySelectorAll(".rm-view")];
    this.tabs = [...this.querySelectorAll("[role=tab]")];
    this.places = {};
    this.fingers = new Map();
    this.tabs.forEach((tab, number) => {
      tab.addEventListener("click", () => this.show(number));
      tab.addEventListener("keydown", (event) => this.moveAmongTabs(event, number));
    });
    this.querySelectorAll("[data-zoom]").forEach((button) =>
      button.addEventListener("click", () => this.zoom(Number(button.dataset.zoom))));
    this.querySelector("[data-full]").addEventListener("click", () => this.toggleFull());
    this.cut = this.querySelector(".rm-cut");
    this.cut.addEventListener("input", () => this.setCut(Number(this.cut.value)));
    this.frame = this.querySelector(".rm-frame");
    this.frame.addEventListener("input", () => { this.still(true); this.turnTo(Number(this.frame.value)); });
    this.stopper = this.querySelector(".rm-still");
    this.stopper.addEventListener("change", () => this.still(this.stopper.checked));
    for (const [name, does] of Object.entries({
      pointerdown: this.press, pointermove: this.drag, pointerup: this.release, pointercancel: this.release,
      wheel: this.wheel, keydown: this.key, dblclick: this.enlarge,
    })) this.stage.addEventListener(name, does.bind(this), { passive: false });
    this.onfullscreenchange = () => this.draw();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.still(true);
    this.show(0);
    this.clock = setInterval(() => this.tick(), Number(this.dataset.seconds) * 1000);
  }

  disconnectedCallback() { clearInterval(this.clock); }

  get view() { return this.views[this.shown]; }
  get place() { return (this.places[this.view.dataset.field] ??= { x: 0, y: 0, zoom: 1 }); }
  get kind() { return this.view.dataset.kind; }

  show(number) {
    this.shown = number;
    this.tabs.forEach((tab, other) => {
      tab.setAttribute("aria-selected", other === number);
      tab.tabIndex = other === number ? 0 : -1;
    });
    this.views.forEach((view, other) => { view.hidden = other !== number; });
    this.dataset.kind = this.kind;
    this.querySelector(".rm-words").textContent = this.view.dataset.words;
    const save = this.querySelector(".rm-save");
    save.href = this.view.querySelector("img").src;
    save.download = this.view.dataset.name;
    this.frame.max = this.images.length - 1;
    if (this.kind === "turn") this.turnTo(0);
    this.draw();
  }

  moveAmongTabs(event, number) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (number + step + this.tabs.length) % this.tabs.length;
    this.show(next);
    this.tabs[next].focus();
    event.preventDefault();
  }

  get images() { return [...this.view.querySelectorAll("img")]; }

  tick() {
    if (this.kind === "turn" && !this.stopper.checked && this.offsetParent) {
      this.turnTo((Number(this.frame.value) + 1) % this.images.length);
    }
  }

  turnTo(number) {
    this.frame.value = number;
    this.images.forEach((image, other) => image.classList.toggle("rm-chosen", other === number));
    this.view.querySelector(".rm-seen").textContent = this.images[number].alt;
  }

  still(wanted) { this.stopper.checked = wanted; }

  setCut(percent) {
    this.cut.value = percent;
    this.style.setProperty("--cut", `${Math.min(100, Math.max(0, percent))}%`);
  }

  zoom(factor, clientX, clientY) {
    const box = this.stage.getBoundingClientRect();
    const place = this.place;
    if (factor === 0) Object.assign(place, { x: 0, y: 0, zoom: 1 });
    else {
      const zoom = Math.min(16, Math.max(1, place.zoom * factor));
      // The point under the pointer stays where it is; both are measured from the middle of the stage.
      const x = (clientX ?? box.left + box.width / 2) - box.left - box.width / 2;
      const y = (clientY ?? box.top + box.height / 2) - box.top - box.height / 2;
      place.x = x - ((x - place.x) * zoom) / place.zoom;
      place.y = y - ((y - place.y) * zoom) / place.zoom;
      place.zoom = zoom;
    }
    this.draw();
  }

  draw() {
    const { place, view } = this;
    const roomX = Math.max(0, (view.offsetWidth * place.zoom - this.stage.clientWidth) / 2);
    const roomY = Math.max(0, (view.offsetHeight * place.zoom - this.stage.clientHeight) / 2);
    place.x = Math.min(roomX, Math.max(-roomX, place.x));
    place.y = Math.min(roomY, Math.max(-roomY, place.y));
    view.style.transform = `translate(${place.x}px, ${place.y}px) scale(${place.zoom})`;
    this.style.setProperty("--zoom", place.zoom);
    this.stage.classList.toggle("rm-zoomed", place.zoom > 1);
  }

  press(event) {
    if (event.button) return;
    this.fingers.set(event.pointerId, event);
    this.stage.setPointerCapture(event.pointerId);
    const box = this.view.getBoundingClientRect();
    const line = box.left + (box.width * Number(this.cut.value)) / 100;
    this.moves = this.kind === "wipe" && (this.place.zoom === 1 || Math.abs(event.clientX - line) < 32) ? "line" : "picture";
    if (this.moves === "line") this.drag(event);
  }

  drag(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const others = [...this.fingers.entries()].filter(([id]) => id !== event.pointerId).map(([, finger]) => finger);
    if (others.length) {
      const span = (finger) => Math.hypot(finger.clientX - others[0].clientX, finger.clientY - others[0].clientY);
      const middle = [(event.clientX + others[0].clientX) / 2, (event.clientY + others[0].clientY) / 2];
      this.zoom(span(event) / Math.max(1, span(before)), ...middle);
    } else if (this.moves === "line") {
      const box = this.view.getBoundingClientRect();
      this.setCut((100 * (event.clientX - box.left)) / box.width);
    } else if (this.place.zoom > 1) {
      this.place.x += event.clientX - before.clientX;
      this.place.y += event.clientY - before.clientY;
      this.draw();
    }
    this.fingers.set(event.pointerId, event);
  }

  release(event) { this.fingers.delete(event.pointerId); }

  wheel(event) {
    // The page scrolls on, unless the picture was chosen first or fills the screen.
    if (!(event.ctrlKey || document.activeElement === this.stage || document.fullscreenElement === this)) return;
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
  }

  enlarge(event) { if (this.kind !== "wipe") this.zoom(2, event.clientX, event.clientY); }

  key(event) {
    const zoom = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 0 }[event.key];
    const step = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (zoom !== undefined) this.zoom(zoom);
    else if (event.key === "f") this.toggleFull();
    else if (step && this.place.zoom > 1) {
      this.place.x += 40 * step[0];
      this.place.y += 40 * step[1];
      this.draw();
    } else if (step && step[0] && this.kind === "wipe") this.setCut(Number(this.cut.value) - 2 * step[0]);
    else return;
    event.preventDefault();
  }

  toggleFull() {
    if (document.fullscreenElement === this) document.exitFullscreen();
    else if (this.requestFullscreen) this.requestFullscreen();
    else this.classList.toggle("rm-full"); // telephones that give no element the whole screen
  }
}
customElements.define("rm-viewer", Viewer);

/* Places that a person sets in both photographs, in turn: where they end up is written beside them, and `rmPoints` gives
   them to the server. See `points_html` for the markup. */
class Points extends HTMLElement {
  connectedCallback() {
    if (this.sides) return;
    this.sides = [...this.querySelectorAll(".rm-side")];
    this.marks = [[], []];
    this.scale = 1;
    for (const side of this.sides) side.at = [0.5, 0.5];
    this.sides.forEach((side, number) => {
      const picture = side.querySelector("img");
      picture.addEventListener("click", (event) => this.set(number,
        event.offsetX / picture.clientWidth, event.offsetY / picture.clientHeight));
      side.addEventListener("keydown", (event) => this.key(event, number));
      const place = document.getElementById(side.dataset.of);
      const look = () => this.take(side, place.querySelector("img")?.src ?? "");
      new MutationObserver(look).observe(place, { subtree: true, childList: true, attributes: true, attributeFilter: ["src"] });
      look();
    });
    const does = { undo: this.undo, clear: this.clear, larger: () => this.zoom(1.5), smaller: () => this.zoom(1 / 1.5) };
    this.querySelectorAll("[data-does]").forEach((button) =>
      button.addEventListener("click", does[button.dataset.does].bind(this)));
    this.draw();
  }

  take(side, source) {
    const picture = side.querySelector("img");
    if (picture.getAttribute("src") === source) return;
    if (source) picture.setAttribute("src", source);
    else picture.removeAttribute("src");
    picture.hidden = !source;
    this.clear();
  }

  /* Marks are kept as parts of the width and height, so that zoom does not move them. */
  set(number, x, y) {
    const mine = this.marks[number].length, others = this.marks[1 - number].length;
    if (mine > others) this.marks[number][mine - 1] = [x, y]; // its partner is missing still: it is set anew
    else this.marks[number].push([x, y]);
    this.draw();
  }

  undo() {
    const longer = this.marks[0].length >= this.marks[1].length ? 0 : 1;
    this.marks[longer].pop();
    this.draw();
  }

  clear() { this.marks = [[], []]; this.draw(); }

  zoom(factor) {
    this.scale = Math.min(8, Math.max(1, this.scale * factor));
    this.draw();
  }

  key(event, number) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const side = this.sides[number];
    if (step) side.at = side.at.map((part, axis) => Math.min(1, Math.max(0, part + (0.01 * step[axis]) / this.scale)));
    else if (event.key === "Enter") this.set(number, ...side.at);
    else return;
    event.preventDefault();
    this.draw();
  }

  draw() {
    this.sides.forEach((side, number) => {
      const sheet = side.querySelector(".rm-sheet");
      sheet.style.width = `${100 * this.scale}%`;
      sheet.querySelectorAll("span").forEach((mark) => mark.remove());
      const marks = this.marks[number].map((at, index) => [at, index + 1, "rm-mark"]);
      for (const [at, words, look] of [...marks, [side.at, "", "rm-cursor"]]) {
        const mark = document.createElement("span");
        mark.className = look;
        mark.textContent = words;
        [mark.style.left, mark.style.top] = at.map((part) => `${100 * part}%`);
        sheet.append(mark);
      }
    });
    const [moving, fixed] = this.marks.map((marks) => marks.length);
    const next = moving <= fixed ? "moving" : "fixed";
    const number = Math.min(moving, fixed);
    this.querySelector("output").textContent =
      `${number} ${number === 1 ? "place is" : "places are"} set in both. Next: one in the ${next} photograph.`;
  }

  /* Rows of pixels: moving x and y, fixed x and y. */
  rows() {
    const [moving, fixed] = this.sides.map((side) => side.querySelector("img"));
    const pixel = (part, length) => Math.min(length - 1, Math.max(0, part * length - 0.5));
    return this.marks[0].slice(0, this.marks[1].length).map(([x, y], index) => [
      pixel(x, moving.naturalWidth), pixel(y, moving.naturalHeight),
      pixel(this.marks[1][index][0], fixed.naturalWidth), pixel(this.marks[1][index][1], fixed.naturalHeight),
    ]);
  }
}
customElements.define("rm-points", Points);
window.rmPoints = () => JSON.stringify(document.querySelector("rm-points").rows());

/* One language, that of this page, whatever the browser's is. */
for (const [name, value] of [["language", "en"], ["languages", ["en"]]]) {
  Object.defineProperty(navigator, name, { get: () => value });
}
document.documentElement.lang = "en";

/* A file that is too large, and too many files, are refused where they were dropped, before they are sent. */
function refuseLarge(event) {
  const files = [...(event.target.files ?? event.dataTransfer?.files ?? [])];
  const place = event.target.closest?.(".block");
  if (!files.length || !place) return;
  place.querySelectorAll(".rm-too-large").forEach((note) => note.remove());
  const large = files.find((file) => file.size > window.rmMostBytes);
  if (!large && files.length <= window.rmMostFiles) return;
  event.stopImmediatePropagation();
  event.preventDefault();
  if (event.target.files) event.target.value = "";
  const note = document.createElement("p");
  note.className = "rm-too-large";
  note.setAttribute("role", "alert");
  note.textContent = large
    ? `${large.name} has ${(large.size / 1e6).toFixed(1)} MB; at most ${window.rmMostBytes / 1e6} MB are taken.`
    : `${files.length} files were chosen; at most ${window.rmMostFiles} are taken.`;
  place.append(note);
}
window.addEventListener("change", refuseLarge, true);
window.addEventListener("drop", refuseLarge, true);

/* When the server is away or has been started anew, the page says so and keeps what it shows; gradio loads the page
   again then, so the last answer is shown once more. */
const LOST = "rm-lost";
function say(words) {
  let banner = document.getElementById("rm-banner");
  if (!banner) {
    banner = document.createElement("div");
    banner.id = "rm-banner";
    banner.setAttribute("role", "alert");
    document.body.prepend(banner);
  }
  banner.textContent = words;
  banner.hidden = !words;
}
function lastAnswers() {
  return [...document.querySelectorAll(".rm-answer[class*=' rm-'] .rm-verdict")].map((words) => words.innerText).join(" ");
}
let server = null;
let failures = 0;
async function lookForServer() {
  try {
    const answer = await fetch("gradio_api/app_id", { signal: AbortSignal.timeout(8000), cache: "no-store" });
    const { app_id: found } = await answer.json();
    if (server !== null && found !== server) {
      say("The server was started anew: your photographs and results are gone there. What you see stays until you load " +
        "this page again; then hand the photographs in once more.");
    } else if (failures > 1) say("");
    failures = 0;
    server ??= found;
  } catch {
    failures += 1;
    if (failures === 1) {
      setTimeout(lookForServer, 2000);
    } else {
      say("The server cannot be reached. What you see stays as long as this page is open; nothing can be registered or " +
        "saved until the server is back.");
    }
  }
}
window.addEventListener("pagehide", () => {
  const lost = failures > 0 || /Connection Lost/.test(document.body.innerText) || document.getElementById("rm-banner");
  if (lost) sessionStorage.setItem(LOST, lastAnswers() || "none");
});
window.addEventListener("load", () => {
  const lost = sessionStorage.getItem(LOST);
  sessionStorage.removeItem(LOST);
  if (lost) {
    say("The connection to the server was lost, and with it your photographs and results; hand them in again." +
      (lost === "none" ? "" : ` The last answer was: ${lost}`));
  }
  lookForServer();
  setInterval(lookForServer, 15000);
});
/* Who presses a button hears at once that nobody is there. */
window.addEventListener("click", (event) => event.target.closest?.("button.primary") && lookForServer());
