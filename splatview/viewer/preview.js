// What the page does when it draws splats of its own: it shows them or the server's picture, decided anew before every frame.
// Sent to a page that is to draw; it replaces its predecessor, because a page outlives a lost connection.
(() => {
  window.__splatviewPreview?.destroy();
  const SPLATS = 10000;  // viser draws its splats in this order, after everything else
  const viewer = () => window.__viserMutable;
  const scene = viewer().scene, background = viewer().backgroundMaterial, canvas = viewer().canvas;
  let who = "server", next = null, shown = null, texture = background.uniforms.colorMap.value, stale = false;

  const note = document.createElement("div");
  note.className = "splatview-preview";
  note.textContent = "Preview drawn by your browser: no view-dependent colour, sub-pixel splats are missing";
  note.style.cssText = "position:fixed;left:8px;bottom:8px;z-index:1;pointer-events:none;opacity:0;transition:opacity .3s;"
    + "font:12px sans-serif;color:#fffc;background:#0006;padding:2px 6px;border-radius:4px";
  document.body.append(note);

  // Whether the picture was drawn for where `camera` stands. viser's cameras look along z, those of three.js against it.
  const fits = (camera) => {
    if (shown === null || texture === null) return false;
    const root = viewer().nodeRefFromName[""], Quaternion = camera.quaternion.constructor, [w, x, y, z] = shown.wxyz;
    const place = camera.position.clone().fromArray(shown.position).applyMatrix4(root.matrixWorld);
    const turn = root.quaternion.clone().multiply(new Quaternion(x, y, z, w)).multiply(new Quaternion(1, 0, 0, 0));
    return place.distanceTo(camera.position) < 1e-4 * (1 + place.length())
      && turn.angleTo(camera.quaternion) < 3e-4
      && Math.abs(camera.fov * Math.PI / 180 - shown.fov_y) < 1e-4
      && Math.abs(texture.image.width / texture.image.height / camera.aspect - 1) < 0.02;
  };

  // The two change places here and not by messages, so that no frame shows both of them, or neither.
  const choose = (_, __, camera) => {
    const now = background.uniforms.colorMap.value;
    if (now !== texture) { texture = now; shown = next; stale = false; }
    const splats = scene.getObjectByProperty("renderOrder", SPLATS);
    const picture = who === "server" ? !stale || !splats : who === "hybrid" && fits(camera);
    background.visible = picture;
    if (splats) splats.visible = !picture;
    note.style.opacity = splats?.visible ? 1 : 0;
  };
  const before = scene.onBeforeRender;
  scene.onBeforeRender = choose;

  const forced = new URLSearchParams(location.search).has("drawOnSoftware");  // for tests
  viewer().sendMessage({ type: "CanDraw", able: forced || !window.__splatview.software });

  window.__splatviewPreview = {
    draw: (by, colour) => {
      if (by === "server" && who !== "server") stale = true;  // its last picture may be one of another place
      who = by;
      canvas.style.background = `rgb(${colour})`;
      if (by === "browser") window.__splatview.fine();
      viewer().requestRender();
    },
    expect: (pose) => { next = pose; },
    arrived: (number) => viewer().sendMessage({ type: "SplatsArrived", number }),
    destroy: () => {
      delete window.__splatviewPreview;
      scene.onBeforeRender = before;
      background.visible = true;
      canvas.style.background = "";
      note.remove();
    },
  };
})();
