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
