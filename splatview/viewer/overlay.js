// What the page does besides viser: say which picture it shows, pick a point, fly, and ease the camera to a place.
// Sent to every client on connection; it replaces its predecessor, because a page outlives a lost connection.
(() => {
  window.__splatview?.destroy();
  document.title = "splatview";
  const viewer = () => window.__viserMutable;
  const canvas = () => viewer().canvas;
  const send = (message) => viewer().sendMessage(message);
  let live = true, number = 0, shown = 0, picking = false, flying = false, distance = 3;

  // A picture counts as shown once its texture is in place: the next frame of the page draws it. A hidden tab draws
  // nothing, so it owes the answer until it is looked at again.
  let owing = false;
  const answer = () => {
    if (document.hidden) owing = true;
    else { owing = false; send({ type: "PictureShown", number }); }
  };
  const watch = () => {
    if (!live) return;
    const slot = viewer().backgroundMaterial?.uniforms.colorMap;
    if (!slot) { requestAnimationFrame(watch); return; }
    let texture = slot.value;
    Object.defineProperty(slot, "value", {
      configurable: true,
      get: () => texture,
      set: (now) => { texture = now; shown = number; if (live && now) { fit(now.image); answer(); } },
    });
    if (texture) { shown = number; answer(); }  // it came before anybody watched
  };

  // The server draws for the window, not for the canvas. On software GL the canvas is half as fine while the pictures
  // are: each pixel of it costs there, and nothing but the edges of viser's own objects is lost until the view rests.
  // Elsewhere both are as fine as the screen.
  const gl = canvas().getContext("webgl2");
  const debug = gl?.getExtension("WEBGL_debug_renderer_info");
  const software = /swiftshader|llvmpipe|software/i.test(debug ? gl.getParameter(debug.UNMASKED_RENDERER_WEBGL) : "");
  const asked = Number(new URLSearchParams(location.search).get("fixedDpr")) || 1;
  const fineness = software ? asked : Math.max(asked, devicePixelRatio);
  const windowSize = () => [canvas().clientWidth, canvas().clientHeight].map((side) => Math.round(side * fineness));
  const report = () => { placeSplit(); const [width, height] = windowSize(); send({ type: "WindowSized", width, height }); };
  const resized = new ResizeObserver(report);
  const fit = (picture) => {
    const renderer = viewer().scene?.__r3f?.root.getState();
    const wanted = software && picture.width <= 0.5 * windowSize()[0] + 1 ? 0.5 * fineness : fineness;
    if (renderer && renderer.viewport.dpr !== wanted) renderer.setDpr(wanted);
  };

  const vector = (x, y, z) => new (viewer().camera.position.constructor)(x, y, z);
  const eat = (event) => { event.stopImmediatePropagation(); event.preventDefault(); };
  const pick = (on) => { picking = on; canvas().style.cursor = on ? "crosshair" : ""; };

  const fly = (on) => {
    const controls = viewer().cameraControl, eye = controls.getPosition(vector()), target = controls.getTarget(vector());
    const forward = target.clone().sub(eye);
    if (on && !flying) distance = forward.length();
    const reach = on ? 0.05 : distance, speed = on ? -0.4 : 1.0;  // dragging the view, not the scene
    target.copy(eye).addScaledVector(forward.normalize(), reach);
    controls.azimuthRotateSpeed = controls.polarRotateSpeed = speed;
    controls.setLookAt(eye.x, eye.y, eye.z, target.x, target.y, target.z, false);
    flying = on;
  };

  // The line between the two halves of a split picture. It stands where it was dragged to; the picture follows.
  const divider = document.createElement("div");
  divider.className = "splatview-split";
  divider.style.cssText = "position:fixed;width:11px;margin-left:-5px;cursor:ew-resize;display:none;z-index:2;touch-action:none;"
    + "background:linear-gradient(90deg,transparent 5px,#fffc 5px,#fffc 6px,transparent 6px)";
  document.body.append(divider);
  let splitAt = null, moved = 0;
  const placeSplit = () => {
    divider.style.display = splitAt === null ? "none" : "block";
    if (splitAt === null) return;
    const box = canvas().getBoundingClientRect();
    Object.assign(divider.style, { left: `${box.left + splitAt * box.width}px`, top: `${box.top}px`, height: `${box.height}px` });
  };
  const tellSplit = () => { moved = 0; send({ type: "SplitMoved", at: splitAt }); };
  divider.onpointerdown = (event) => divider.setPointerCapture(event.pointerId);
  divider.onpointermove = (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = canvas().getBoundingClientRect();
    splitAt = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    placeSplit();
    moved ||= requestAnimationFrame(tellSplit);
  };

  // Buttons and keys that move the camera, as long as they are down.
  const moving = /^(Key[WASDQE]|Arrow(Up|Down|Left|Right))$/, down = new Set();
  const hold = (what, on) => {
    if (on === down.has(what)) return;
    on ? down.add(what) : down.delete(what);
    if (down.size === (on ? 1 : 0)) send({ type: "CameraHeld", on });
  };
  const taken = (event) => window.__splatviewTools?.takes(event);  // a tool's, not the camera's
  const letGo = () => [...down].forEach((what) => hold(what, false));

  const listeners = {
    pointerdown: (event) => {
      if (event.target !== canvas()) return;
      document.activeElement?.blur();  // or the keys would still go to the last button pressed
      if (!picking || event.button !== 0) { if (!taken(event)) hold("pointer", true); return; }
      eat(event);
      const box = canvas().getBoundingClientRect();
      send({ type: "PointPicked", x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height });
      pick(false);
    },
    pointerup: () => hold("pointer", false),
    pointercancel: () => hold("pointer", false),
    keydown: (event) => {
      // Shift and a digit is another sign on every keyboard; the palette's keys are known by their signs.
      const digit = event.isTrusted && event.shiftKey && !event.ctrlKey && /^Digit(\d)$/.exec(event.code)?.[1];
      if (digit && event.key !== digit && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) {
        eat(event);
        event.target.dispatchEvent(new KeyboardEvent("keydown", { key: digit, code: event.code, shiftKey: true, bubbles: true, cancelable: true }));
        return;
      }
      if (picking && event.key === "Escape") { eat(event); pick(false); }
      if (moving.test(event.code) && !taken(event) && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) hold(event.code, true);
    },
    keyup: (event) => hold(event.code, false),
    blur: letGo,
    visibilitychange: () => { if (owing) answer(); },
    wheel: (event) => {
      if (!flying || event.target !== canvas() || taken(event)) return;
      eat(event);
      viewer().cameraControl.forward(-0.002 * event.deltaY, true);
    },
  };
  for (const name in listeners) addEventListener(name, listeners[name], { capture: true, passive: false });

  window.__splatview = {
    software,
    fine: () => viewer().scene.__r3f.root.getState().setDpr(fineness),
    picture: (n) => { number = n; },
    shown: () => shown,
    pick: () => pick(!picking),
    fly,
    split: (at) => { splitAt = at; placeSplit(); },
    home: () => { const was = flying; if (was) fly(false); viewer().resetCameraPose(true); if (was) setTimeout(() => fly(true), 400); },
    go: (places) => {  // the eye, and what it turns about
      const was = flying;
      if (was) fly(false);
      const [eye, target] = places.map((place) => vector(...place).applyMatrix4(viewer().nodeRefFromName[""].matrixWorld));
      viewer().cameraControl.setLookAt(eye.x, eye.y, eye.z, target.x, target.y, target.z, true);
      if (was) setTimeout(() => fly(true), 700);
    },
    lookAt: (point) => {
      if (flying) return;
      const at = vector(...point).applyMatrix4(viewer().nodeRefFromName[""].matrixWorld);
      viewer().cameraControl.setTarget(at.x, at.y, at.z, true);
    },
    destroy: () => {
      live = false;
      window.__splatviewPreview?.destroy();
      window.__splatviewTools?.destroy();
      resized.disconnect();
      divider.remove();
      for (const name in listeners) removeEventListener(name, listeners[name], true);
    },
  };
  watch();
  resized.observe(canvas());  // reports at once, too
})();
