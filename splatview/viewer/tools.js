// The tools that draw on the picture. A stroke is shown here while the pointer moves, without a round trip, and every sample of
// the pointer goes to the server. Sent to every client on connection, after overlay.js; it replaces its predecessor.
(() => {
  window.__splatviewTools?.destroy();
  const viewer = () => window.__viserMutable, canvas = () => viewer().canvas;
  const send = (message) => viewer().sendMessage(message);
  const BRUSHES = ["brush", "paint"], CLICKS = ["point", "flood", "eyedropper", "pick"], PLAIN = ["paint", "pick"];  // plain: no set to add to
  const COLOURS = { set: "86,160,255", add: "72,211,120", remove: "255,107,94", intersect: "188,140,255" };
  const HINTS = {
    point: "Pick: click",
    rectangle: "Rectangle: drag",
    lasso: "Lasso: drag",
    polygon: "Polygon: click corners, a double click or Enter closes it",
    brush: "Brush: drag, [ and ] or Alt+wheel change its size",
    paint: "Paint: drag, [ and ] or Alt+wheel change the size",
    flood: "Flood: click",
    eyedropper: "Eyedropper: click a colour",
    pick: "Click a point",
  };
  const LEGEND = { add: "Shift adds", remove: "Ctrl removes", intersect: "Shift+Ctrl intersects" };
  const LEAST = 1, MOST = 500, STEP = 1.05;  // of the radius, in pixels of the page
  const SAME = 5, CLOSING = 9, DOUBLE = 400;  // pixels between two corners, and to the first one; milliseconds of a double click
  const BATCH = 30, LENGTH = 4096;  // milliseconds between messages, and the most numbers of one
  const OWN = 500;  // milliseconds in which a radius that the person chose stays
  const MOVES = /^(Key[WASDQE]|Arrow(Up|Down|Left|Right))$/;  // the keys that move viser's camera, with Ctrl held too

  let tool = "none", radius = 40, pointer = null, held = [], stroke = null, closed = null, frame = 0, telling = 0, resizedAt = -Infinity;

  // A layer over the canvas, which is as large and cuts off what leaves it. It is never hit.
  const element = (parent, kind, style) => {
    const made = parent.appendChild(document.createElement(kind));
    made.style.cssText = style;
    return made;
  };
  const layer = element(document.body, "div", "position:fixed;overflow:hidden;pointer-events:none;z-index:1");
  layer.className = "splatview-tools";
  const paper = element(layer, "canvas", "position:absolute;left:0;top:0;width:100%;height:100%;display:none");
  const ring = element(layer, "div", "position:absolute;left:0;top:0;box-sizing:border-box;border-radius:50%;display:none;will-change:transform;"
    + "border:1.5px solid;box-shadow:0 0 0 1px #0009,inset 0 0 0 1px #0006");
  const line = element(layer, "div", "position:absolute;bottom:10px;transform:translateX(-50%);display:none;width:max-content;"
    + "box-sizing:border-box;padding:4px 12px;border-radius:6px;background:#000a;color:#fffd;"
    + "font:12px/1.5 system-ui,sans-serif;text-align:center;text-wrap:balance");
  line.className = "splatview-hint";
  const sheet = document.head.appendChild(document.createElement("style"));
  sheet.textContent = ".splatview-draws{cursor:crosshair!important}.splatview-brushes{cursor:none!important}";
  const g = paper.getContext("2d");

  const eat = (event) => { event.stopImmediatePropagation(); event.preventDefault(); };
  const command = (event) => event.ctrlKey || event.metaKey;
  const modifiers = (event) => [event.shiftKey && "shift", command(event) && "ctrl", event.altKey && "alt"].filter(Boolean);
  const operation = (mods) => mods.includes("ctrl") ? (mods.includes("shift") ? "intersect" : "remove") : mods.includes("shift") ? "add" : "set";
  const colour = (mods, alpha = 1) => `rgba(${COLOURS[PLAIN.includes(tool) ? "set" : operation(mods)]},${alpha})`;
  const brushes = () => BRUSHES.includes(tool);
  const typing = ({ target }) => target instanceof Element
    && (target.matches("input,textarea,select") || target.isContentEditable || target.closest("[role=dialog]"));
  const place = (event, box = canvas().getBoundingClientRect()) => [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  const apart = (x, y, at) => Math.hypot((x - at[0]) * canvas().clientWidth, (y - at[1]) * canvas().clientHeight);
  const bracket = (event) => command(event) && !event.getModifierState("AltGraph") ? 0
    : ({ "[": -1, "]": 1 })[event.key] ?? ({ BracketLeft: -1, BracketRight: 1 })[event.code] ?? 0;

  // What the tools take from the camera; overlay.js asks, too.
  const takes = (event) => {
    if (event.type === "keydown") return command(event) && MOVES.test(event.code) && !typing(event);
    if (event.type === "wheel") return brushes() && event.altKey && event.target === canvas();
    return left(event) && (!event.altKey || dragging() || !event.isPrimary);
  };
  const left = (event) => tool !== "none" && event.target === canvas() && event.button === 0;

  // A stroke: `points` are fractions of the canvas. A polygon is told as a whole when it is closed, since its corners can be taken back.
  const dragging = (id = stroke?.pointer) => stroke !== null && stroke.tool !== "polygon" && stroke.pointer === id;
  const tell = (phase, points = []) => {
    const { tool, modifiers, radius, number } = stroke;
    let at = 0;
    do {
      const piece = points.slice(at, at += LENGTH);
      send({ type: "ToolStroke", tool, phase: at < points.length && phase === "end" ? "move" : phase, points: piece, modifiers, radius, number });
    } while (at < points.length);
  };
  const fresh = () => { const points = stroke.points.slice(stroke.sent); stroke.sent = stroke.points.length; return points; };
  const beat = () => {
    if (viewer().sendMessage !== stroke.connection) drop();  // viser has put another in its place: the connection was lost
    else if (dragging() && stroke.sent < stroke.points.length) tell("move", fresh());
  };
  const begin = (event) => {
    stroke = {
      tool, pointer: event.pointerId, points: place(event), sent: 0, inked: 0, modifiers: modifiers(event), wide: radius,
      radius: radius / canvas().clientHeight, number: window.__splatview.shown(), connection: viewer().sendMessage,
    };
    tell("start", tool === "polygon" ? [] : fresh());
    stroke.timer = setInterval(beat, BATCH);
    if (tool !== "polygon") canvas().setPointerCapture(event.pointerId);
  };
  const drop = () => { clearInterval(stroke?.timer); stroke = null; redraw(); };
  const finish = () => { beat(); if (stroke) { tell("end", fresh()); drop(); } };
  const cancel = () => { if (stroke && viewer().sendMessage === stroke.connection) tell("cancel"); drop(); };
  const cancelDrag = () => { if (dragging()) cancel(); };
  const sample = (event) => {
    if (CLICKS.includes(stroke.tool)) return;  // the place that was pressed counts
    const box = canvas().getBoundingClientRect(), samples = event.getCoalescedEvents?.() ?? [];
    for (const one of samples.length ? samples : [event]) stroke.points.push(...place(one, box));
  };

  const corner = (event) => {
    const [x, y] = place(event), now = performance.now();
    if (!stroke) {
      if (closed && now - closed.at < DOUBLE && apart(x, y, closed.place) < CLOSING) return;  // the second half of the click that closed it
      begin(event);
    } else if (closing(x, y)) close([x, y]);
    else if (apart(x, y, stroke.points.slice(-2)) > SAME) stroke.points.push(x, y);
    if (stroke) stroke.number = window.__splatview.shown();  // the camera may have moved since the last corner
  };
  const closing = (x, y) => stroke.points.length >= 6 && apart(x, y, stroke.points) < CLOSING;
  const close = (at) => {
    if (stroke.points.length < 6) return;
    closed = { at: performance.now(), place: at };
    finish();
  };

  const resize = (steps) => {
    const wanted = Math.min(MOST, Math.max(LEAST, radius * STEP ** steps));
    if (wanted === radius || dragging()) return;
    radius = wanted;
    resizedAt = performance.now();
    redraw();
    telling ||= setTimeout(() => { telling = 0; send({ type: "ToolRadius", radius: radius / canvas().clientHeight }); }, BATCH);
  };
  const use = (next, fraction, hint) => {
    if (stroke && next !== tool) cancel();
    tool = next;
    if (fraction !== null) size(fraction);
    canvas().classList.toggle("splatview-draws", tool !== "none");
    canvas().classList.toggle("splatview-brushes", brushes());
    write(hint);
    redraw();
  };
  const size = (fraction) => {
    if (performance.now() - resizedAt < OWN) return;  // an echo of what the person is about to change further
    radius = Math.min(MOST, Math.max(LEAST, fraction * canvas().clientHeight));
    redraw();
  };
  const leave = () => { use("none", null, null); send({ type: "ToolLeft" }); };

  const write = (hint) => {
    line.replaceChildren();
    const say = (text, name) => { const part = element(line, "span", ""); part.textContent = text; if (name) part.dataset.operation = name; };
    say(`${hint ?? HINTS[tool] ?? ""}. `);
    if (!PLAIN.includes(tool)) for (const name in LEGEND) { say(LEGEND[name], name); say(", "); }
    say("Esc ends");
    centre();
  };
  const centre = () => {  // in the widest part of the canvas's lower edge that no panel covers
    if (tool === "none") return;
    const box = canvas().getBoundingClientRect(), step = box.width / 32, free = [0, 0];
    for (let i = 0, from = 0; i < 32; i += 1) {
      if (document.elementFromPoint(box.left + (i + 0.5) * step, box.bottom - 22) !== canvas()) from = i + 1;
      else if (i + 1 - from > free[1] - free[0]) [free[0], free[1]] = [from, i + 1];
    }
    if (free[1] === free[0]) free[1] = 32;
    line.style.bottom = document.querySelector(".splatview-preview") ? "34px" : "10px";  // its note stands at the very bottom
    line.style.left = `${(free[0] + free[1]) / 2 * step}px`;
    line.style.maxWidth = `${Math.max(120, (free[1] - free[0]) * step - 16)}px`;
  };

  const redraw = () => { frame ||= requestAnimationFrame(draw); };
  const draw = () => {
    frame = 0;
    const box = canvas().getBoundingClientRect(), fine = devicePixelRatio;
    Object.assign(layer.style, { left: `${box.left}px`, top: `${box.top}px`, width: `${box.width}px`, height: `${box.height}px` });
    const mods = stroke?.modifiers ?? held;
    const circle = pointer && (stroke ? BRUSHES.includes(stroke.tool) : brushes() && !held.includes("alt"));
    ring.style.display = circle ? "block" : "none";
    if (pointer) {
      const [x, y] = pointer, r = stroke?.wide ?? radius;
      Object.assign(ring.style, {
        width: `${2 * r}px`, height: `${2 * r}px`, borderColor: colour(mods), transform: `translate(${x - box.left - r}px,${y - box.top - r}px)`,
      });
    }
    line.style.display = tool === "none" ? "none" : "block";
    for (const part of line.children) part.style.color = part.dataset.operation === operation(mods) ? colour(mods) : "";
    paper.style.display = stroke ? "block" : "none";
    if (!stroke) return;
    const width = Math.round(box.width * fine), height = Math.round(box.height * fine), brush = BRUSHES.includes(stroke.tool);
    if (paper.width !== width || paper.height !== height) { paper.width = width; paper.height = height; stroke.inked = 0; }
    paper.style.opacity = brush ? 0.4 : 1;
    g.setTransform(fine, 0, 0, fine, 0, 0);
    if (!brush || !stroke.inked) g.clearRect(0, 0, box.width, box.height);
    const places = [];
    for (let i = 0; i < stroke.points.length; i += 2) places.push([stroke.points[i] * box.width, stroke.points[i + 1] * box.height]);
    SHAPES[stroke.tool]?.(places, pointer && [pointer[0] - box.left, pointer[1] - box.top]);
    if (CLICKS.includes(stroke.tool)) { disc(places[0], 7); outline(1.5); }
  };

  // Lines are bright on a dark edge, so that they are seen on any picture.
  const trace = (places, shut) => { g.beginPath(); for (const [x, y] of places) g.lineTo(x, y); if (shut) g.closePath(); };
  const disc = ([x, y], r) => { g.beginPath(); g.arc(x, y, r, 0, 2 * Math.PI); };
  const outline = (width, dashes = []) => {
    g.lineJoin = g.lineCap = "round";
    g.setLineDash([]);
    g.strokeStyle = "#0009";
    g.lineWidth = width + 2;
    g.stroke();
    g.lineCap = dashes.length ? "butt" : "round";
    g.setLineDash(dashes);
    g.strokeStyle = colour(stroke.modifiers);
    g.lineWidth = width;
    g.stroke();
  };
  const fill = (alpha) => { g.fillStyle = colour(stroke.modifiers, alpha); g.fill(); };
  const ink = (places) => {  // only what is new: a long stroke is as fast as a short one, and darkens nothing twice
    const [x, y] = places[Math.max(0, stroke.inked - 1)];
    g.lineJoin = g.lineCap = "round";
    g.setLineDash([]);
    g.strokeStyle = colour(stroke.modifiers);
    g.lineWidth = 2 * stroke.wide;
    trace([[x + 0.01, y], ...places.slice(Math.max(0, stroke.inked - 1))]);
    g.stroke();
    stroke.inked = places.length;
  };
  const SHAPES = {
    rectangle: (places) => {
      const [[left, top], [right, bottom]] = [places[0], places.at(-1)];
      g.beginPath();
      g.rect(left, top, right - left, bottom - top);
      fill(0.18);
      outline(1.5, [7, 5]);
    },
    lasso: (places) => {
      trace(places, true);
      fill(0.18);
      trace([places.at(-1), places[0]]);
      outline(1, [3, 5]);
      trace(places);
      outline(1.5);
    },
    polygon: (places, at) => {
      const shuts = at && closing(at[0] / canvas().clientWidth, at[1] / canvas().clientHeight);
      trace(at && !shuts ? [...places, at] : places, true);
      fill(shuts ? 0.3 : 0.18);
      if (at) { trace([places.at(-1), shuts ? places[0] : at]); outline(1.25, [5, 4]); }
      trace(places);
      outline(1.5);
      places.forEach((place, i) => {
        disc(place, i ? 3 : shuts ? 7 : 5);
        g.fillStyle = i ? colour(stroke.modifiers) : "#fff";
        g.fill();
        outline(1.25);
      });
    },
    brush: ink,
    paint: ink,
  };

  const listeners = {
    pointerdown: (event) => {
      if (!takes(event)) return;
      eat(event);
      if (!event.isPrimary || dragging()) return;
      held = modifiers(event);
      pointer = [event.clientX, event.clientY];
      if (tool === "polygon") corner(event);
      else begin(event);
      redraw();
    },
    pointermove: (event) => {
      if (tool === "none") return;
      const drags = dragging(event.pointerId);
      if (!drags && !event.isPrimary) return;
      pointer = drags || event.target === canvas() ? [event.clientX, event.clientY] : null;
      held = modifiers(event);
      redraw();
      if (!drags) return;
      eat(event);
      if (event.buttons & 1) sample(event);
      else finish();  // another button is held still, or it came up where nobody saw it
    },
    pointerup: (event) => {
      if (!dragging(event.pointerId)) { setTimeout(centre); return; }  // a panel may have been moved
      eat(event);
      const [x, y] = place(event);
      if (apart(x, y, stroke.points.slice(-2)) > 0.01) sample(event);
      finish();
    },
    pointercancel: (event) => { if (dragging(event.pointerId)) cancel(); },
    lostpointercapture: (event) => { if (dragging(event.pointerId)) cancel(); },
    pointerout: (event) => { if (!event.relatedTarget && pointer) { pointer = null; redraw(); } },
    click: (event) => { if (left(event) && !event.altKey) eat(event); },
    dblclick: (event) => {
      if (!left(event) || event.altKey) return;
      eat(event);
      if (stroke?.tool === "polygon") close(place(event));
    },
    contextmenu: (event) => { if (tool !== "none" && event.ctrlKey && event.target === canvas()) event.preventDefault(); },  // a Mac's Ctrl+click
    wheel: (event) => {
      if (!takes(event)) return;
      eat(event);
      resize(Math.min(1, Math.max(-1, -(event.deltaY || event.deltaX) / 50)));  // a trackpad's many small turns make few steps
    },
    keydown: (event) => {
      heed(event);
      if (takes(event)) event.preventDefault();
      if (tool === "none" || typing(event) || window.__splatviewHistogram?.dragging()) return;
      const polygon = stroke?.tool === "polygon";
      if (event.key === "Escape") { eat(event); if (stroke) cancel(); else leave(); }
      else if (polygon && event.key === "Enter") { eat(event); close(stroke.points.slice(-2)); }
      else if (polygon && event.key === "Backspace") {
        eat(event);
        if (stroke.points.length > 2) stroke.points.splice(-2); else cancel();
        redraw();
      } else if (brushes() && bracket(event)) { eat(event); resize(bracket(event)); }
    },
    keyup: (event) => heed(event),
    blur: cancelDrag,
    visibilitychange: () => { if (document.hidden) cancelDrag(); },
  };
  const heed = (event) => {
    if (tool === "none") return;
    if (event.key === "Alt" && !typing(event)) event.preventDefault();  // or Windows would go to the browser's menu when it comes up
    held = modifiers(event);
    redraw();
  };
  for (const name in listeners) addEventListener(name, listeners[name], { capture: true, passive: false });

  // viser's hotkeys listen at the root element, its camera at the document: what stops between them fires the one and not the other.
  const root = document.documentElement, stop = (event) => { if (takes(event)) event.stopPropagation(); };
  root.addEventListener("keydown", stop);
  const resized = new ResizeObserver(() => { centre(); redraw(); });
  resized.observe(canvas());

  window.__splatviewTools = {
    takes, use, size, cancel: () => { if (stroke) cancel(); },
    destroy: () => {
      delete window.__splatviewTools;
      clearInterval(stroke?.timer);
      clearTimeout(telling);
      cancelAnimationFrame(frame);
      resized.disconnect();
      root.removeEventListener("keydown", stop);
      for (const name in listeners) removeEventListener(name, listeners[name], true);
      canvas().classList.remove("splatview-draws", "splatview-brushes");
      layer.remove();
      sheet.remove();
    },
  };
})();
