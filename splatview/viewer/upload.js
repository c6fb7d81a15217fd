// Files that are dropped on the page or chosen with a button, sent to the server one after another, with their progress.
// Run with the most bytes that a file may have, and with what the server calls the page. A page outlives a lost connection, so a second
// run only brings both up to date.
(limit, page) => {
  if (window.__splatviewFiles) { Object.assign(window.__splatviewFiles, { limit, page }); return; }
  const element = (parent, kind, style, text = "") => {
    const made = parent.appendChild(document.createElement(kind));
    made.style.cssText = style;
    made.textContent = text;  // never as HTML: names are anybody's
    return made;
  };
  const list = element(document.body, "div", "position:fixed;left:12px;bottom:12px;width:280px;z-index:1000;font:13px sans-serif");
  list.id = "splatview-files";
  const veil = element(document.body, "div",
    "position:fixed;inset:0;z-index:999;display:none;place-items:center;pointer-events:none;" +
    "font:20px sans-serif;color:white;background:rgba(30,60,110,.5)", "Drop scenes to add them as layers, or an ONNX network to draw with");
  const waiting = [];
  let busy = false;

  const row = (name) => {
    const box = element(list, "div", "margin-top:6px;padding:8px;border-radius:4px;background:rgba(25,25,30,.92);color:white");
    const close = element(box, "button", "float:right;border:0;background:none;color:inherit;cursor:pointer", "✕");
    element(box, "div", "overflow:hidden;text-overflow:ellipsis;white-space:nowrap", name);
    const bar = element(element(box, "div", "height:3px;margin:5px 0;background:#444"), "div", "height:3px;width:0;background:#3c82e6");
    const state = element(box, "div", "opacity:.8;overflow-wrap:anywhere", "waiting");
    const one = { cancel: () => {}, close: () => { one.cancel(); box.remove(); } };
    close.onclick = one.close;
    one.tell = (text, fraction) => { state.textContent = text; if (fraction !== undefined) bar.style.width = `${100 * fraction}%`; };
    one.fail = (text) => { one.tell(text, 0); state.style.color = "#ff9a8a"; };
    return one;
  };

  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
  const next = () => {
    if (busy || !waiting.length) return;
    const { file, shown } = waiting.shift();
    const request = new XMLHttpRequest();  // fetch does not tell how much was sent
    busy = true;
    shown.cancel = () => request.abort();
    request.upload.onprogress = ({ loaded }) => shown.tell(`${megabytes(loaded)} of ${megabytes(file.size)}`, loaded / file.size);
    request.upload.onload = () => shown.tell("reading", 1);
    request.onload = () => {
      const answer = request.response ?? {};
      if (request.status !== 200) { shown.fail(answer.error ?? "the server refused it"); return; }
      shown.tell(`added as ${answer.added}`, 1);
      setTimeout(shown.close, 4000);
    };
    request.onerror = () => shown.fail("the connection was lost");
    request.onloadend = () => { busy = false; shown.cancel = () => {}; next(); };
    request.open("POST", `/upload?name=${encodeURIComponent(file.name)}&page=${window.__splatviewFiles.page}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.send(file);
  };
  const add = (files) => {
    for (const file of files) {
      const shown = row(file.name);
      const { limit } = window.__splatviewFiles;
      if (file.size > limit) { shown.fail(`${megabytes(file.size)}: larger than ${megabytes(limit)}, the most that this viewer takes`); continue; }
      const one = { file, shown };
      shown.cancel = () => waiting.splice(waiting.indexOf(one), 1);
      waiting.push(one);
    }
    next();
  };

  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;  // of the elements that the pointer has entered
  const listeners = {
    dragenter: () => { depth += 1; veil.style.display = "grid"; },
    dragleave: () => { depth -= 1; if (depth <= 0) veil.style.display = "none"; },
    dragover: () => {},  // told not to refuse
    drop: (event) => { depth = 0; veil.style.display = "none"; add(event.dataTransfer.files); },
  };
  for (const name in listeners) {
    addEventListener(name, (event) => { if (carriesFiles(event)) { event.preventDefault(); event.stopPropagation(); listeners[name](event); } }, true);
  }
  const choose = () => {
    if (navigator.userActivation?.isActive === false) {  // browsers open the window within seconds of a click: it came late, wait for the next
      addEventListener("click", choose, { capture: true, once: true });
      return;
    }
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    input.onchange = () => add(input.files);
    input.click();
  };
  window.__splatviewFiles = { limit, page, choose, add };
}
