// Histograms that a range can be dragged on (histogram.py). Their HTML comes anew whenever it changes, also in the middle of a drag:
// nothing is kept but their names. Sent to every client on connection; it replaces its predecessor.
(() => {
  window.__splatviewHistogram?.destroy();
  const COLOURS = { set: "86,160,255", add: "72,211,120", remove: "255,107,94", intersect: "188,140,255" };  // as in tools.js
  let drag = null, hovered = null;
  const plot = (target) => target instanceof Element ? target.closest(".splatview-histogram") : null;
  const named = (name) => [...document.querySelectorAll(".splatview-histogram")].find((one) => one.dataset.name === name);
  const part = (one, name) => one.querySelector(`[data-part="${name}"]`);
  const edges = (one) => JSON.parse(one.dataset.edges);
  const modifiers = (event) => [event.shiftKey && "shift", (event.ctrlKey || event.metaKey) && "ctrl", event.altKey && "alt"].filter(Boolean);
  const operation = (mods) => mods.includes("ctrl") ? (mods.includes("shift") ? "intersect" : "remove") : mods.includes("shift") ? "add" : "set";
  const eat = (event) => { event.stopImmediatePropagation(); event.preventDefault(); };
  const text = (value) => {
    const size = Math.abs(value);
    return value === 0 ? "0" : size >= 1e6 || size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  };

  // The bin under the pointer; the nearest one beside the plot.
  const bin = (event, one) => {
    const box = part(one, "plot").getBoundingClientRect(), at = edges(one), [low, high] = [at[0], at.at(-1)];
    const value = low + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (high - low);
    return Math.max(0, Math.min(at.length - 2, at.findLastIndex((edge) => edge <= value)));
  };
  const range = (one) => {
    const at = edges(one), last = at.length - 2;
    const [from, to] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)].map((i) => Math.min(i, last));
    return [at[from], at[to + 1], from, to];
  };
  const show = (one, low, high, count, colour) => {
    const at = edges(one), scale = 100 / (at.at(-1) - at[0]), mark = part(one, "range");
    Object.assign(mark.style, {
      display: "block", left: `${(low - at[0]) * scale}%`, width: `${(high - low) * scale}%`, background: `rgba(${colour},.22)`,
      boxShadow: `inset 1px 0 rgb(${colour}),inset -1px 0 rgb(${colour})`,
    });
    part(one, "reading").textContent = `${text(low)} to ${text(high)}: ${count.toLocaleString("en").replaceAll(",", "\u2009")}`;
  };
  const hide = (one) => { if (one) { part(one, "range").style.display = "none"; part(one, "reading").textContent = ""; } };
  const mark = () => {
    const one = named(drag.name);
    if (!one) return;
    const [low, high, from, to] = range(one);
    const count = JSON.parse(one.dataset.counts).slice(from, to + 1).reduce((sum, more) => sum + more, 0);
    show(one, low, high, count, COLOURS[operation(drag.modifiers)]);
  };
  const end = () => { const one = named(drag.name); drag = null; hide(one); return one; };

  const listeners = {
    pointerdown: (event) => {
      const one = plot(event.target);
      if (!one || event.button !== 0 || drag) return;
      eat(event);
      document.activeElement?.blur();
      hide(hovered);
      hovered = null;
      const at = bin(event, one);
      drag = { name: one.dataset.name, pointer: event.pointerId, from: at, to: at, modifiers: modifiers(event) };
      mark();
    },
    pointermove: (event) => {
      if (!drag) {
        const one = event.pointerType === "touch" ? null : plot(event.target);
        if (hovered && hovered !== one) hide(hovered);
        hovered = one;
        if (!one) return;
        const at = bin(event, one), [low, high] = edges(one).slice(at, at + 2);
        show(one, low, high, JSON.parse(one.dataset.counts)[at], "255,255,255");
        return;
      }
      if (event.pointerId !== drag.pointer) return;
      eat(event);
      const one = named(drag.name);
      if (one) drag.to = bin(event, one);
      mark();
    },
    pointerup: (event) => {
      if (event.pointerId !== drag?.pointer) return;
      eat(event);
      const one = named(drag.name), { name, modifiers } = drag;
      if (one) {
        drag.to = bin(event, one);
        const [low, high] = range(one);
        window.__viserMutable.sendMessage({ type: "HistogramRange", name, low, high, modifiers });
      }
      end();
    },
    pointercancel: (event) => { if (event.pointerId === drag?.pointer) end(); },
    keydown: (event) => { if (drag && event.key === "Escape") { eat(event); end(); } },
    blur: () => { if (drag) end(); },
  };
  for (const name in listeners) addEventListener(name, listeners[name], { capture: true, passive: false });

  window.__splatviewHistogram = {
    dragging: () => drag !== null,
    destroy: () => {
      delete window.__splatviewHistogram;
      if (drag) end();
      hide(hovered);
      for (const name in listeners) removeEventListener(name, listeners[name], true);
    },
  };
})();
