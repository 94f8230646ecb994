"""How the page looks, and the few lines that make the map answer to the pointer."""

STYLE = """
:root { color-scheme: light dark; --sans:system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  --paper:#fff; --card:#f6f7f9; --ink:#1c2128; --soft:#5c6673; --rule:#e1e5ea; --accent:#2f5fd0;
  --good:#15803d; --bad:#c62f2f; --good-wash:#e3f4e8;
  --c0:#3f68d0; --c1:#d99400; --c2:#e5533d; --c3:#3a9fa6; --c4:#2f9447;
  --c5:#e0609a; --c6:#8b55d9; --c7:#6fa3ee; --c8:#946546; --c9:#868d97; }
@media (prefers-color-scheme: dark) { :root {
  --paper:#14171c; --card:#1d2128; --ink:#e6e9ee; --soft:#9aa4b1; --rule:#2d333c; --accent:#8fb0ff;
  --good:#4cc274; --bad:#f0716b; --good-wash:#173524;
  --c0:#7196f5; --c1:#f0b93a; --c2:#ff7a63; --c3:#5cc3c9; --c4:#55bf6d;
  --c5:#ff8cbd; --c6:#b48cf7; --c7:#a3c8ff; --c8:#c39472; --c9:#a7aeb8; } }
* { box-sizing:border-box; }
html { scroll-behavior:smooth; -webkit-text-size-adjust:100%; }
body { margin:0 auto; max-width:1080px; padding:0 clamp(16px, 4vw, 40px) 48px; background:var(--paper);
  color:var(--ink); font:16px/1.55 var(--sans); }
header { padding:40px 0 8px; }
h1, h2 { text-wrap:balance; }
h1 { font-size:clamp(1.6rem, 5vw, 2.2rem); line-height:1.2; letter-spacing:-.02em; margin:0 0 .35em; }
h2 { font-size:1.25rem; letter-spacing:-.01em; margin:0 0 .5em; }
p { margin:0 0 1em; max-width:80ch; color:var(--soft); text-wrap:pretty; }
nav { display:flex; flex-wrap:wrap; gap:4px 18px; font-size:.9rem; }
a { color:var(--accent); text-decoration:none; } a:hover { text-decoration:underline; }
section { padding:28px 0 4px; scroll-margin-top:8px; }
footer { margin-top:40px; padding-top:14px; border-top:1px solid var(--rule); color:var(--soft); font-size:.85rem; }
.scroll { overflow-x:auto; }
.headline { display:grid; grid-template-columns:repeat(auto-fit, minmax(160px, 1fr)); gap:12px; }
.card { background:var(--card); border-radius:12px; padding:14px 18px; display:flex; flex-direction:column; }
.label, .remark { color:var(--soft); font-size:.85rem; }
.value { font-size:1.9rem; font-weight:650; letter-spacing:-.02em; line-height:1.25; }
.card, table { font-variant-numeric:tabular-nums; }
table { border-collapse:collapse; width:100%; }
th, td { padding:9px 14px; text-align:right; border-bottom:1px solid var(--rule); white-space:nowrap; }
thead th { color:var(--soft); font-size:.85rem; font-weight:600; border-bottom-width:2px; white-space:normal; }
th:first-child { text-align:left; padding-left:2px; } tbody th { font-weight:500; }
.best { color:var(--good); background:var(--good-wash); border-radius:6px; padding:2px 8px; margin-right:-8px; }
.charts { display:grid; grid-template-columns:repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap:24px; }
figure { margin:0; } .chart { max-width:600px; } .chart svg { width:100%; height:auto; display:block; }
.chart > figcaption { font-weight:600; font-size:.95rem; margin-bottom:4px; }
svg text { fill:var(--soft); font:13px var(--sans); }
.grid { stroke:var(--rule); fill:none; }
.curve { fill:none; stroke-width:2.2; stroke-linejoin:round; stroke-linecap:round; }
.faint { fill:none; stroke-width:1; opacity:.3; }
.point { opacity:0; } .point:hover { opacity:1; }
.legend { list-style:none; display:flex; flex-wrap:wrap; gap:4px 16px; margin:6px 0 0; padding:0; font-size:.88rem; }
.legend i { display:inline-block; margin-right:7px; vertical-align:middle; }
.dot { width:11px; height:11px; border-radius:50%; background:var(--own); }
.dash { width:16px; border-top:2px dashed var(--own); }
.legend button { font:inherit; color:inherit; background:none; border:0; padding:2px 0; cursor:pointer; }
.legend button[aria-pressed=true] { text-decoration:underline; text-underline-offset:3px; }
img { display:block; width:100%; aspect-ratio:1; object-fit:cover; border-radius:6px; background:var(--card); }
.pixels { image-rendering:pixelated; }
.pairs { display:grid; grid-template-columns:repeat(auto-fill, minmax(158px, 1fr)); gap:12px; }
.views { display:flex; gap:4px; padding:8px; background:var(--card); border-radius:12px; }
.views img { min-width:0; flex:1; }
.neighbours { display:grid; grid-template-columns:96px 1fr; gap:24px; align-items:start; padding:10px 0;
  border-bottom:1px solid var(--rule); }
.neighbours:last-child { border-bottom:0; }
.found { display:grid; grid-template-columns:repeat(var(--k), minmax(0, 96px)); gap:10px; }
.neighbours figcaption { font-size:.75rem; line-height:1.3; margin-top:5px; color:var(--soft); overflow:hidden;
  text-overflow:ellipsis; white-space:nowrap; }
.query figcaption { font-weight:650; color:var(--ink); }
.neighbours figure { max-width:96px; min-width:0; } .neighbours img { border:3px solid var(--rule); border-radius:8px; }
.neighbours .query img { border-color:var(--accent); }
.neighbours .same img { border-color:var(--good); } .neighbours .other img { border-color:var(--bad); }
.other figcaption { color:var(--bad); }
.map { position:relative; background:var(--card); border-radius:12px; }
.map svg { display:block; width:100%; height:auto; cursor:crosshair; }
.map circle { opacity:.85; } .map .away { opacity:.06; }
.map .here { stroke:var(--ink); stroke-width:2.5; opacity:1; }
.tip { position:absolute; z-index:1; pointer-events:none; padding:8px; border-radius:10px; background:var(--paper);
  border:1px solid var(--rule); box-shadow:0 4px 18px rgb(0 0 0 / .18); font-size:.8rem; text-align:center; }
.tip[hidden] { display:none; } .tip b { font-weight:600; }
.tip span { display:block; width:96px; height:96px; border-radius:6px; margin-bottom:4px; }
.tip span:not([style]) { display:none; }
dl { margin:0; display:grid; gap:2px; font-size:.92rem; }
dl div { display:grid; grid-template-columns:minmax(120px, 220px) 1fr; gap:16px; padding:5px 0;
  border-bottom:1px solid var(--rule); }
dt { color:var(--soft); } dd { margin:0; overflow-wrap:anywhere; }
@media (max-width:560px) {
  header { padding-top:24px; } th, td { padding:8px 6px; font-size:.93rem; } tbody th { white-space:normal; }
  svg text { font-size:15px; }
  .headline { grid-template-columns:1fr 1fr; } .card { padding:12px 14px; } .value { font-size:1.5rem; }
  .neighbours { grid-template-columns:64px 1fr; gap:12px; } .found { grid-template-columns:repeat(4, 1fr); gap:6px; }
  .neighbours figcaption { font-size:.68rem; white-space:normal; overflow-wrap:anywhere; }
  .pairs { grid-template-columns:1fr 1fr; gap:8px; } .views { padding:6px; }
  dl div { grid-template-columns:1fr; gap:0; } }
@media print { body { max-width:none; } nav { display:none; } section { break-inside:avoid; } }
"""

SCRIPT = """
for (const map of document.querySelectorAll('.map')) {
  const known = JSON.parse(map.dataset.map), svg = map.querySelector('svg'), tip = map.querySelector('.tip');
  const dots = [...svg.children], byIndex = [];
  for (const dot of dots) byIndex[dot.dataset.i] = dot;
  const legend = map.nextElementSibling, buttons = legend ? [...legend.querySelectorAll('button')] : [];
  const picture = tip.firstElementChild, size = 96;
  if (known.sprite) {
    picture.style.backgroundImage = `url(${known.sprite})`;
    picture.style.backgroundSize = `${known.across * size}px`;
  }
  let here = null, only = null;
  const leave = () => { if (here) here.classList.remove('here'); here = null; tip.hidden = true; };
  const point = event => {
    const to = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = -1, distance = 24 * 24;
    known.places.forEach(([x, y], i) => {
      const d = (x - to.x) ** 2 + (y - to.y) ** 2;
      if (d < distance && (only === null || known.classes[i] === only)) { best = i; distance = d; }
    });
    leave();
    if (best < 0) return;
    here = byIndex[best];
    here.classList.add('here');
    if (known.sprite) {
      const column = best % known.across, row = Math.floor(best / known.across);
      picture.style.backgroundPosition = `-${column * size}px -${row * size}px`;
    }
    tip.lastElementChild.textContent = known.names[known.classes[best]];
    tip.hidden = false;
    const box = map.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    tip.style.left = Math.max(0, Math.min(x + 16, box.width - tip.offsetWidth)) + 'px';
    tip.style.top = (y + 16 + tip.offsetHeight > box.height ? y - 12 - tip.offsetHeight : y + 16) + 'px';
  };
  svg.addEventListener('pointermove', point);
  svg.addEventListener('pointerdown', point);
  svg.addEventListener('pointerleave', leave);
  for (const button of buttons) button.addEventListener('click', () => {
    const chosen = Number(button.dataset.c);
    only = only === chosen ? null : chosen;
    for (const other of buttons) other.setAttribute('aria-pressed', Number(other.dataset.c) === only);
    for (const dot of dots) dot.classList.toggle('away', only !== null && Number(dot.dataset.c) !== only);
  });
}
"""
