// What the page does besides viser: say which picture it shows, pick a point, fly, and ease the camera to a place.
// Sent to every client on connection; it replaces its predecessor, because a page outlives a lost connection.
(() => {
  window.__splatview?.destroy();
  const viewer = () => window.__viserMutable;
  const canvas = () => viewer().canvas;
  const send = (message) => viewer().sendMessage(message);
  let live = true, number = 0, texture = null, picking = false, flying = false, distance = 3;

  // A picture counts as shown in the frame after its texture was put in place.
  const tick = () => {
    if (!live) return;
    requestAnimationFrame(tick);
    const now = viewer().backgroundMaterial?.uniforms.colorMap.value;
    if (now && now !== texture) {
      texture = now;
      send({ type: "PictureShown", number });
    }
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

  const listeners = {
    pointerdown: (event) => {
      if (event.target !== canvas()) return;
      document.activeElement?.blur();  // or the keys would still go to the last button pressed
      if (!picking || event.button !== 0) return;
      eat(event);
      const box = canvas().getBoundingClientRect();
      send({ type: "PointPicked", x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height });
      pick(false);
    },
    keydown: (event) => { if (picking && event.key === "Escape") { eat(event); pick(false); } },
    wheel: (event) => {
      if (!flying || event.target !== canvas()) return;
      eat(event);
      viewer().cameraControl.forward(-0.002 * event.deltaY, true);
    },
  };
  for (const name in listeners) addEventListener(name, listeners[name], { capture: true, passive: false });

  window.__splatview = {
    picture: (n) => { number = n; },
    pick: () => pick(!picking),
    fly,
    home: () => { const was = flying; if (was) fly(false); viewer().resetCameraPose(true); if (was) setTimeout(() => fly(true), 400); },
    lookAt: (point) => {
      if (flying) return;
      const at = vector(...point).applyMatrix4(viewer().nodeRefFromName[""].matrixWorld);
      viewer().cameraControl.setTarget(at.x, at.y, at.z, true);
    },
    destroy: () => { live = false; for (const name in listeners) removeEventListener(name, listeners[name], true); },
  };
  tick();
})();
