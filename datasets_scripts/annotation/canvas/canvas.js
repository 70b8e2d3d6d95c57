// The photograph and its keypoints. Gradio calls this once with `element`, `props`, `trigger` and `watch`.
// props.value goes both ways: {number, name, url, width, height, points: [[x, y, type, width or null], ...], changes,
// problem, note}. props.report comes from Python alone: {serial, name, changes, text, error}.
// Places are pixels of the photograph, the center of the top-left one is (0, 0); on paper it lies at (0.5, 0.5).

const part = (name) => element.querySelector(`[data-role="${name}"]`);
const stage = part('stage');
const picture = part('picture');
const marks = part('marks');
const NAMES = ['bifurcation', 'crossing'];
const COLORS = ['#3df0ff', '#ffe23d'];
const LARGEST_SCALE = 40; // screen pixels a pixel of the photograph
const UNDO_STEPS = 500;

let current = null; // the value on show
let levels = []; // the photograph in full, half, quarter ... size: drawing 9 megapixels small would take too long
let view = { scale: 1, x: 0, y: 0 }; // x, y: paper coordinates of the top-left corner of the stage
let points = [];
let selected = -1;
let kind = 0;
let past = [];
let changes = 0;
let locked = false;
let unlock = null;
let fitted = true;
let stale = { picture: true, marks: true, asked: false };

// ---- drawing ----

function redraw(what = 'marks') {
  stale[what] = true;
  stale.marks = true;
  if (stale.asked) return;
  stale.asked = true;
  requestAnimationFrame(() => {
    stale.asked = false;
    if (stale.picture) drawPicture();
    drawMarks();
    stale.picture = stale.marks = false;
  });
}

function sized(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(stage.clientWidth * ratio), Math.round(stage.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  // The stage's own size may be a fraction: stretched to it, the pixels would blur.
  Object.assign(canvas.style, { width: `${stage.clientWidth}px`, height: `${stage.clientHeight}px` });
  const context = canvas.getContext('2d');
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [context, ratio];
}

function drawPicture() {
  const [context, ratio] = sized(picture);
  if (!levels.length) return;
  const wanted = view.scale * ratio;
  const level = [...levels].reverse().find((one) => one.factor >= wanted) || levels[0];
  const f = level.factor;
  // Only what is on the stage, in whole pixels of the level.
  const x0 = Math.max(0, Math.floor(view.x * f));
  const y0 = Math.max(0, Math.floor(view.y * f));
  const x1 = Math.min(level.image.width, Math.ceil((view.x + stage.clientWidth / view.scale) * f));
  const y1 = Math.min(level.image.height, Math.ceil((view.y + stage.clientHeight / view.scale) * f));
  if (x1 <= x0 || y1 <= y0) return;
  context.imageSmoothingEnabled = wanted < 2; // beyond, the pixels themselves are what one wants to see
  context.imageSmoothingQuality = 'high';
  const s = view.scale / f;
  context.drawImage(
    level.image, x0, y0, x1 - x0, y1 - y0,
    x0 * s - view.x * view.scale, y0 * s - view.y * view.scale, (x1 - x0) * s, (y1 - y0) * s,
  );
}

function drawMarks() {
  const [context] = sized(marks);
  if (!current || !levels.length) return;
  if (!isOn('hide')) {
    const radius = Math.min(9, Math.max(3.5, 3 * view.scale + 3));
    points.forEach((point, i) => i !== selected && drawMark(context, point, radius, false));
    if (selected >= 0) drawMark(context, points[selected], radius + 2, true);
  }
  if (stage.matches(':focus-visible')) {
    const [x, y] = [stage.clientWidth / 2, stage.clientHeight / 2];
    line(context, '#fff', 1, (path) => {
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        path.moveTo(x + 4 * dx, y + 4 * dy);
        path.lineTo(x + 14 * dx, y + 14 * dy);
      }
    });
  }
}

function drawMark(context, point, radius, isSelected) {
  const [x, y] = toScreen(point);
  line(context, COLORS[point[2]], isSelected ? 2.5 : 1.75, (path) => {
    if (point[2] === 0) {
      path.arc(x, y, radius, 0, 2 * Math.PI);
    } else {
      const r = radius * 1.25;
      [[0, -r], [r, 0], [0, r], [-r, 0]].forEach(([dx, dy], i) => path[i ? 'lineTo' : 'moveTo'](x + dx, y + dy));
      path.closePath();
    }
  });
  if (isSelected) line(context, '#fff', 1.5, (path) => path.rect(x - radius - 6, y - radius - 6, 2 * radius + 12, 2 * radius + 12));
  context.fillStyle = COLORS[point[2]];
  context.fillRect(x - 0.75, y - 0.75, 1.5, 1.5);
}

function line(context, color, width, trace) {
  context.beginPath();
  trace(context);
  context.strokeStyle = 'rgba(0, 0, 0, 0.75)'; // a dark seam keeps the mark readable on the bright disc
  context.lineWidth = width + 2;
  context.stroke();
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke();
}

// ---- the view ----

const toScreen = ([x, y]) => [(x + 0.5 - view.x) * view.scale, (y + 0.5 - view.y) * view.scale];
const toPhoto = ([x, y]) => [x / view.scale + view.x - 0.5, y / view.scale + view.y - 0.5];
const middle = () => [stage.clientWidth / 2, stage.clientHeight / 2];

function fit() {
  if (!current || !current.width || !stage.clientWidth) return;
  const scale = Math.min(stage.clientWidth / current.width, stage.clientHeight / current.height);
  view = { scale, x: (current.width - stage.clientWidth / scale) / 2, y: (current.height - stage.clientHeight / scale) / 2 };
  fitted = true;
  redraw('picture');
}

function zoom(factor, [x, y] = middle()) {
  if (!levels.length) return;
  const whole = Math.min(stage.clientWidth / current.width, stage.clientHeight / current.height);
  const scale = Math.min(LARGEST_SCALE, Math.max(whole / 2, view.scale * factor));
  view = { scale, x: view.x + x / view.scale - x / scale, y: view.y + y / view.scale - y / scale };
  fitted = false;
  redraw('picture');
}

function pan(dx, dy) {
  if (!levels.length) return;
  // Some of the photograph always stays on the stage.
  const keep = (value, span, side) => Math.min(side - 0.2 * span, Math.max(-0.8 * span, value));
  view.x = keep(view.x - dx / view.scale, stage.clientWidth / view.scale, current.width);
  view.y = keep(view.y - dy / view.scale, stage.clientHeight / view.scale, current.height);
  fitted = false;
  redraw('picture');
}

function bringIntoView(point, share) {
  const [x, y] = toScreen(point);
  const [width, height] = [stage.clientWidth, stage.clientHeight];
  const margin = share * Math.min(width, height);
  const dx = x < margin ? margin - x : Math.min(0, width - margin - x);
  const dy = y < margin ? margin - y : Math.min(0, height - margin - y);
  if (dx || dy) pan(dx, dy);
}

// ---- changes ----

const isOn = (name) => part(name).getAttribute('aria-pressed') === 'true';
const isEditable = () => Boolean(current && levels.length && !locked);
const within = ([x, y]) => x >= -0.5 && y >= -0.5 && x <= current.width - 0.5 && y <= current.height - 0.5;
const clamped = ([x, y]) => [Math.min(current.width - 1, Math.max(0, x)), Math.min(current.height - 1, Math.max(0, y))];

function remember(what) {
  // Many small steps of one keypoint are one change.
  if (what !== 'nudge' || !past.length || past[past.length - 1].what !== `nudge ${selected}`) {
    past.push({ what: `${what} ${selected}`, points: points.map((point) => [...point]), selected });
    if (past.length > UNDO_STEPS) past.shift();
  }
}

function commit() {
  changes += 1;
  props.value = { ...current, points: points.map((point) => [...point]), changes };
  say('unsaved', 'Unsaved changes');
  trigger('edited');
  show();
}

function add(place) {
  if (!isEditable() || !within(place)) return;
  remember('add');
  points.push([...place, kind, null]);
  selected = points.length - 1;
  commit();
}

function move(place, what) {
  if (!isEditable() || selected < 0) return;
  remember(what);
  [points[selected][0], points[selected][1]] = clamped(place);
  commit();
}

function remove() {
  if (!isEditable() || selected < 0) return;
  remember('delete');
  points.splice(selected, 1);
  selected = -1;
  commit();
}

function setKind(type) {
  kind = type;
  if (isEditable() && selected >= 0 && points[selected][2] !== type) {
    remember('type');
    points[selected][2] = type;
    commit();
  }
  show();
}

function undo() {
  if (!isEditable() || !past.length) return;
  const before = past.pop();
  points = before.points;
  selected = before.selected < points.length ? before.selected : -1;
  commit();
}

function select(i) {
  selected = i;
  if (i >= 0) kind = points[i][2];
  show();
}

function step(by) {
  if (!points.length) return;
  select(selected < 0 ? (by > 0 ? 0 : points.length - 1) : (selected + by + points.length) % points.length);
  bringIntoView(points[selected], 0.3); // with what lies around it
}

// ---- what is said ----

function say(state, text) {
  part('saved').dataset.state = state;
  part('saved').textContent = text;
}

function show() {
  const crossings = points.filter((point) => point[2] === 1).length;
  const plural = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;
  part('counts').textContent = current && levels.length
    ? `${plural(points.length - crossings, 'bifurcation')}, ${plural(crossings, 'crossing')}` : '';
  const point = points[selected];
  part('place').textContent = point
    ? `Selected: ${NAMES[point[2]]} at (${point[0].toFixed(1)}, ${point[1].toFixed(1)})` : current?.note || '';
  part('delete').disabled = selected < 0;
  part('undo').disabled = !past.length;
  NAMES.forEach((name, i) => part(name).setAttribute('aria-pressed', String(kind === i)));
  // For assistive tools and for tests: where the photograph lies on the stage, and which one it is.
  Object.assign(stage.dataset, { photograph: levels.length ? current.name : '', changes, points: points.length });
  redraw();
}

// ---- a photograph comes ----

function open() {
  const value = props.value;
  if (!value || !value.name) return;
  [current, points, selected, past, changes, levels] = [value, value.points.map((point) => [...point]), -1, [], 0, []];
  part('message').textContent = value.problem || 'Opening the photograph …';
  stage.setAttribute('aria-label', `Photograph ${value.name} with its keypoints`);
  say('saved', value.state);
  show();
  redraw('picture');
  if (value.problem) return;
  const image = new Image();
  image.onload = async () => {
    const bitmap = await createImageBitmap(image); // decoded now, not while drawing
    if (current !== value) return;
    levels = [{ image: bitmap, factor: 1 }];
    while (Math.max(levels[levels.length - 1].image.width, levels[levels.length - 1].image.height) > 1000) {
      const last = levels[levels.length - 1];
      const half = document.createElement('canvas');
      [half.width, half.height] = [Math.round(last.image.width / 2), Math.round(last.image.height / 2)];
      half.getContext('2d').drawImage(last.image, 0, 0, half.width, half.height);
      levels.push({ image: half, factor: half.width / bitmap.width });
    }
    part('message').textContent = '';
    stage.style.setProperty('--gain', gain(levels[levels.length - 1].image));
    fit();
    show();
  };
  image.onerror = () => {
    if (current === value) part('message').textContent = `${value.name} could not be shown; reload the page.`;
  };
  image.src = value.url;
}

function gain(image) {
  // What brings the retina's usual green to the middle gray, about which contrast is raised.
  const small = document.createElement('canvas');
  [small.width, small.height] = [64, 64];
  const context = small.getContext('2d');
  context.drawImage(image, 0, 0, 64, 64);
  const greens = [...context.getImageData(0, 0, 64, 64).data].filter((_, i) => i % 4 === 1).filter((green) => green > 15);
  greens.sort((a, b) => a - b);
  return Math.min(6, 128 / (greens[greens.length >> 1] || 128));
}

function lock() {
  // Between Next and the next photograph, changes would go to the one that was just called done.
  locked = true;
  say('saved', 'Opening the photograph …');
  clearTimeout(unlock);
  unlock = setTimeout(() => (locked = false), 10000); // no answer: the server is gone, the person must not be
}

watch('value', open);
watch('report', () => {
  const report = props.report;
  locked = false;
  if (!report || !current || report.name !== current.name) return;
  if (report.error) say('error', report.text);
  else if (report.changes >= changes) say('saved', report.text);
});
open();

// ---- mouse, pen and fingers ----

const pointers = new Map();
let gesture = null;
const at = (event) => {
  const box = stage.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

function hit(place, reach) {
  let [best, least] = [-1, reach];
  if (!isOn('hide')) {
    points.forEach((point, i) => {
      const away = distance(toScreen(point), place);
      if (away < least) [best, least] = [i, away];
    });
  }
  return best;
}

stage.addEventListener('pointerdown', (event) => {
  if (!levels.length) return;
  stage.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, at(event));
  if (pointers.size === 2) {
    if (gesture?.moved && gesture.grabbed) commit();
    gesture = { pinch: true };
    return;
  }
  const grabbed = event.button === 0 ? hit(at(event), event.pointerType === 'touch' ? 18 : 11) : -1;
  gesture = { start: at(event), last: at(event), button: event.button, moved: false, grabbed: grabbed >= 0 };
  if (grabbed >= 0) {
    select(grabbed);
    gesture.from = points[grabbed].slice(0, 2);
  }
});

stage.addEventListener('pointermove', (event) => {
  if (!pointers.has(event.pointerId) || !gesture) return;
  const [place, before] = [at(event), pointers.get(event.pointerId)];
  if (gesture.pinch) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    pointers.set(event.pointerId, place);
    if (!other) return;
    zoom(distance(place, other) / Math.max(1, distance(before, other)), other);
    return;
  }
  pointers.set(event.pointerId, place);
  if (!gesture.moved && distance(place, gesture.start) < (event.pointerType === 'touch' ? 9 : 4)) return;
  if (gesture.grabbed) {
    if (!isEditable()) return;
    if (!gesture.moved) remember('move');
    const [dx, dy] = [(place[0] - gesture.start[0]) / view.scale, (place[1] - gesture.start[1]) / view.scale];
    [points[selected][0], points[selected][1]] = clamped([gesture.from[0] + dx, gesture.from[1] + dy]);
    redraw();
  } else {
    pan(place[0] - gesture.last[0], place[1] - gesture.last[1]);
  }
  gesture.moved = true;
  gesture.last = place;
});

function release(event) {
  if (!pointers.delete(event.pointerId) || !gesture) return;
  if (gesture.pinch) {
    if (!pointers.size) gesture = null;
    return;
  }
  const { moved, grabbed, button } = gesture;
  gesture = null;
  if (moved && grabbed) commit();
  else if (!moved && !grabbed && button === 0 && event.type === 'pointerup' && !isOn('hide')) add(toPhoto(at(event)));
}
stage.addEventListener('pointerup', release);
stage.addEventListener('pointercancel', release);
stage.addEventListener('contextmenu', (event) => event.preventDefault());
stage.addEventListener('wheel', (event) => {
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 30 : 1;
  zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY * lines)) / 400), at(event));
}, { passive: false });
stage.addEventListener('focus', () => redraw());
stage.addEventListener('blur', () => redraw());

// ---- buttons and keys ----

function toggle(name) {
  part(name).setAttribute('aria-pressed', String(!isOn(name)));
  stage.classList.toggle(name, isOn(name));
  redraw();
}

const buttons = {
  bifurcation: () => setKind(0),
  crossing: () => setKind(1),
  delete: remove,
  undo,
  smaller: () => zoom(1 / 1.5),
  larger: () => zoom(1.5),
  fit,
  contrast: () => toggle('contrast'),
  hide: () => toggle('hide'),
};
Object.entries(buttons).forEach(([name, act]) => part(name).addEventListener('click', act));

const press = (id) => () => document.querySelector(`#${id}`)?.click();
const arrow = (dx, dy) => (event) => {
  const length = event.shiftKey ? 10 : 1; // screen pixels: the nearer one looks, the finer the step
  if (selected < 0) return pan(-dx * 40, -dy * 40);
  const [x, y] = points[selected];
  move([x + (dx * length) / view.scale, y + (dy * length) / view.scale], 'nudge');
  bringIntoView(points[selected], 0.05);
};
const keys = {
  1: buttons.bifurcation, 2: buttons.crossing, t: () => setKind(1 - kind),
  a: () => add(toPhoto(middle())), d: remove, Delete: remove, Backspace: remove, u: undo,
  '.': () => step(1), ',': () => step(-1), Escape: () => select(-1),
  '+': buttons.larger, '=': buttons.larger, '-': buttons.smaller, 0: fit, c: buttons.contrast, h: buttons.hide,
  n: press('annotate-next'), b: press('annotate-back'), s: press('annotate-save'),
  ArrowLeft: arrow(-1, 0), ArrowRight: arrow(1, 0), ArrowUp: arrow(0, -1), ArrowDown: arrow(0, 1),
};

document.addEventListener('keydown', (event) => {
  if (event.target.closest('input, textarea, select, [contenteditable="true"], [role="listbox"]')) return;
  const isCommand = event.ctrlKey || event.metaKey;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = isCommand ? { z: undo, s: keys.s }[key] : event.altKey ? null : keys[key];
  if (!act) return;
  event.preventDefault();
  act(event);
});
document.addEventListener('click', (event) => {
  if (event.target.closest('#annotate-next, #annotate-back')) lock();
}, true);
window.addEventListener('beforeunload', (event) => {
  if (part('saved').dataset.state === 'unsaved') event.preventDefault();
});
new ResizeObserver(() => (fitted ? fit() : redraw('picture'))).observe(stage);
