// Buttons within HTML of the panel (buttons.py), and the bar over the picture that says what is being worked at, with a way out.
// Sent to every client on connection; it replaces its predecessor.
(() => {
  window.__splatviewButtons?.destroy();
  const press = (name, value) => window.__viserMutable.sendMessage({ type: "ButtonPressed", name, value });
  const clicked = (event) => {
    const one = event.target instanceof Element ? event.target.closest("[data-splatview-press]") : null;
    if (!one || one.disabled) return;
    event.stopPropagation();
    const [name, value] = JSON.parse(one.dataset.splatviewPress);
    press(name, value);
  };
  addEventListener("click", clicked, true);

  const element = (parent, kind, style, text = "") => {
    const made = parent.appendChild(document.createElement(kind));
    made.style.cssText = style;
    made.textContent = text;  // never as HTML: names are anybody's
    return made;
  };
  const box = element(document.body, "div", "position:fixed;left:50%;bottom:18px;transform:translateX(-50%);z-index:998;display:none;" +
    "align-items:center;gap:14px;padding:8px 10px 8px 14px;border-radius:6px;background:rgba(25,25,30,.92);color:white;font:13px system-ui,sans-serif");
  box.id = "splatview-busy";
  const middle = element(box, "div", "width:min(320px, 50vw)");
  const label = element(middle, "div", "overflow:hidden;text-overflow:ellipsis;white-space:nowrap");
  const rail = element(middle, "div", "height:3px;margin-top:6px;border-radius:2px;background:#444");
  const bar = element(rail, "div", "height:3px;width:0;border-radius:2px;background:#3c82e6");
  const cancel = element(box, "button", "border:1px solid #666;border-radius:4px;padding:3px 9px;background:none;color:inherit;" +
    "font:inherit;cursor:pointer", "Cancel");
  cancel.onclick = () => press("cancel", "");

  window.__splatviewButtons = {
    busy: (text, fraction) => {
      box.style.display = text === null ? "none" : "flex";
      label.textContent = text ?? "";
      bar.style.width = `${100 * (fraction ?? 0)}%`;
    },
    destroy: () => {
      delete window.__splatviewButtons;
      removeEventListener("click", clicked, true);
      box.remove();
    },
  };
})();
