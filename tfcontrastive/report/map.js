// The map of an embedding: one canvas with the marks, a second layer with what is pointed at, picked or selected.
for (const map of document.querySelectorAll('.map')) {
  const data = JSON.parse(map.querySelector('script').textContent);
  const plane = map.querySelector('.plane'), canvas = plane.querySelector('canvas'), tip = plane.querySelector('.tip');
  const picked = map.querySelector('.picked'), brushButton = map.querySelector('.brush');
  const marks = data.marks.map(mark => new Path2D('M0 0' + mark));
  const ground = document.createElement('canvas');  // the marks, drawn once
  const count = data.places.length, SHOWN = 60, REACH = 26;
  let here = -1, chosen = -1, alone = null, inside = new Set(), rectangle = null, down = null, colours = {};

  const name = i => data.files ? data.files[i] : `image ${i + 1}`;
  const kind = i => data.names[data.classes[i]];
  const visible = i => alone === null || data.classes[i] === alone;
  const strong = i => visible(i) && (!inside.size || inside.has(i));
  const breakable = text => text.split(/(?<=[/_])(?=[^/_\s])/).flatMap(part => [document.createElement('wbr'), part]).slice(1);

  const tile = (element, i) => {
    if (!data.sprite) return element.remove();
    const x = data.across > 1 ? 100 * (i % data.across) / (data.across - 1) : 0;
    const y = data.down > 1 ? 100 * Math.floor(i / data.across) / (data.down - 1) : 0;
    element.style.backgroundPosition = `${x}% ${y}%`;
  };
  if (data.sprite) {
    const number = [...document.querySelectorAll('.map')].indexOf(map), style = document.createElement('style');
    map.dataset.number = number;  // one rule: the picture is read once, however many tiles there are
    style.textContent = `.map[data-number="${number}"] .tile { background-image: url(${data.sprite});
      background-size: ${100 * data.across}% ${100 * data.down}% }`;
    document.head.append(style);
  }

  const readColours = () => {
    const style = getComputedStyle(map);
    for (const key of ['--ink', '--paper', '--accent']) colours[key] = style.getPropertyValue(key).trim();
    for (let index = 0; index < 8; index++) colours[index] = style.getPropertyValue(`--c${index}`).trim();
  };
  const scaled = target => {
    const pixel = canvas.width / data.width, brush = target.getContext('2d');
    brush.setTransform(pixel, 0, 0, pixel, 0, 0);
    return brush;
  };
  const drawGround = () => {
    ground.width = canvas.width; ground.height = canvas.height;
    const brush = scaled(ground), pixel = canvas.width / data.width;
    const grow = Math.max(1, 480 / canvas.clientWidth);  // on a phone marks would be too small to see
    const order = [...Array(count).keys()];
    for (let i = count - 1, seed = 1; i > 0; i--) {  // mixed, so that the last class does not hide the others
      seed = seed * 16807 % 2147483647;
      const j = seed % (i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    for (const shown of [false, true]) for (const i of order) {
      if (strong(i) !== shown) continue;
      brush.globalAlpha = shown ? .85 : .08;
      brush.fillStyle = colours[data.classes[i] % 8];
      brush.setTransform(pixel * grow, 0, 0, pixel * grow, data.places[i][0] * pixel, data.places[i][1] * pixel);
      brush.fill(marks[data.classes[i] % marks.length]);
    }
  };
  const ring = (brush, i, width, colour) => {
    brush.beginPath();
    brush.arc(...data.places[i], data.radius + 4, 0, 7);
    brush.lineWidth = width; brush.strokeStyle = colour; brush.stroke();
  };
  const draw = () => {
    const brush = canvas.getContext('2d');
    brush.setTransform(1, 0, 0, 1, 0, 0);
    brush.clearRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(ground, 0, 0);
    scaled(canvas);
    if (chosen >= 0) {
      brush.strokeStyle = colours['--ink']; brush.lineWidth = 1.2; brush.globalAlpha = .6;
      for (const other of nearest(chosen)) {
        brush.beginPath(); brush.moveTo(...data.places[chosen]); brush.lineTo(...data.places[other]); brush.stroke();
      }
      brush.globalAlpha = 1;
      ring(brush, chosen, 3, colours['--accent']);
    }
    if (here >= 0) ring(brush, here, 2.5, colours['--ink']);
    if (rectangle) {
      const [left, top, right, bottom] = rectangle;
      brush.globalAlpha = .12; brush.fillStyle = colours['--accent'];
      brush.fillRect(left, top, right - left, bottom - top);
      brush.globalAlpha = 1; brush.lineWidth = 1.5; brush.strokeStyle = colours['--accent'];
      brush.strokeRect(left, top, right - left, bottom - top);
    }
  };

  const nearest = i => {
    if (data.neighbours) return data.neighbours[i];
    const [x, y] = data.places[i];
    const far = j => (data.places[j][0] - x) ** 2 + (data.places[j][1] - y) ** 2;
    return [...Array(count).keys()].filter(j => j !== i).sort((a, b) => far(a) - far(b)).slice(0, data.nearest);
  };
  const at = event => {
    const box = canvas.getBoundingClientRect(), scale = data.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale, scale];
  };
  const closest = (x, y, reach) => {
    let best = -1, distance = reach * reach;
    for (let i = 0; i < count; i++) {
      const d = (data.places[i][0] - x) ** 2 + (data.places[i][1] - y) ** 2;
      if (d < distance && visible(i)) { best = i; distance = d; }
    }
    return best;
  };
  const point = i => {
    here = i;
    draw();
    tip.hidden = i < 0;
    if (i < 0) return;
    const picture = tip.querySelector('.tile');
    if (picture) tile(picture, i);
    tip.querySelector('b').textContent = kind(i);
    tip.querySelector('small').replaceChildren(...breakable(data.files ? name(i) : ''));
    const scale = canvas.clientWidth / data.width, x = data.places[i][0] * scale, y = data.places[i][1] * scale;
    const above = y + 20 + tip.offsetHeight > canvas.clientHeight && y - 14 - tip.offsetHeight > 0;
    tip.style.left = Math.max(0, Math.min(x + 14, canvas.clientWidth - tip.offsetWidth)) + 'px';
    tip.style.top = (above ? y - 14 - tip.offsetHeight : y + 14) + 'px';
  };

  const card = (i, detail) => {
    const button = document.createElement('button'), picture = document.createElement('span');
    button.type = 'button'; button.className = 'found-one';
    picture.className = 'tile';
    button.append(picture);
    tile(picture, i);
    for (const [part, text] of [['b', kind(i)], ['small', data.files ? name(i) : detail ? '' : name(i)], ['small', detail]]) {
      if (!text) continue;
      const line = document.createElement(part);
      line.append(...breakable(text));
      button.append(line);
    }
    button.addEventListener('click', () => { point(-1); pick(i); });
    button.addEventListener('pointerenter', () => { here = i; draw(); });
    button.addEventListener('pointerleave', () => { here = -1; draw(); });
    return button;
  };
  const show = (words, cards, more = []) => {
    const heading = Object.assign(document.createElement('p'), { textContent: words });
    const row = document.createElement('div');
    row.className = 'found-row';
    row.append(...cards);
    picked.replaceChildren(heading, row, ...more);
    picked.hidden = false;
  };
  const choose = (i, some) => {
    const redraw = inside.size > 0 || some.size > 0;
    chosen = i; inside = some; rectangle = null;
    if (redraw) drawGround();
  };
  const pick = i => {
    choose(i, new Set());
    if (i < 0) picked.hidden = true;
    else {
      const found = nearest(i), of = data.similarities && data.similarities[i];
      const where = data.neighbours ? 'in the embedding' : 'on this map';
      show(`${name(i)}${kind(i) ? `, ${kind(i)}` : ''}: itself, then its ${found.length} nearest ${where}.`,
        [card(i, ''), ...found.map((other, rank) => card(other, of ? of[rank].toFixed(3) : ''))]);
      picked.querySelector('.found-one').classList.add('query');
    }
    draw();
  };
  const select = ([left, top, right, bottom]) => {
    const found = data.places.map((_, i) => i).filter(i => visible(i) && data.places[i][0] >= left &&
      data.places[i][0] <= right && data.places[i][1] >= top && data.places[i][1] <= bottom);
    if (!found.length) return pick(-1);
    choose(-1, new Set(found));
    const list = document.createElement('textarea'), label = document.createElement('label');
    list.readOnly = true; list.rows = Math.min(8, found.length);
    list.value = found.map(i => kind(i) ? `${name(i)}\t${kind(i)}` : name(i)).join('\n');
    label.append('As text, to copy', list);
    const words = found.length > SHOWN ? `, the first ${SHOWN} of them shown` : '';
    show(`${found.length.toLocaleString('en')} images in the rectangle${words}.`, found.slice(0, SHOWN).map(i => card(i, '')), [label]);
    draw();
  };

  const free = event => event.pointerType === 'mouse' || brushButton.getAttribute('aria-pressed') === 'true';
  canvas.addEventListener('pointerdown', event => {
    down = at(event);
    if (free(event)) canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener('pointermove', event => {
    const [x, y, scale] = at(event);
    const far = down && free(event) && Math.hypot(x - down[0], y - down[1]) > 6 * scale;
    if (!far && !rectangle) return point(closest(x, y, REACH * scale));
    const clip = (value, most) => Math.max(0, Math.min(value, most));
    rectangle = [clip(Math.min(x, down[0]), data.width), clip(Math.min(y, down[1]), data.height),
      clip(Math.max(x, down[0]), data.width), clip(Math.max(y, down[1]), data.height)];
    point(-1);
  });
  canvas.addEventListener('pointerup', event => {
    const [x, y, scale] = at(event), drawn = rectangle;
    down = null; rectangle = null;
    if (drawn) select(drawn);
    else { const i = closest(x, y, REACH * scale); point(event.pointerType === 'mouse' ? i : -1); pick(i); }
  });
  canvas.addEventListener('pointercancel', () => { down = null; rectangle = null; point(-1); });
  canvas.addEventListener('pointerleave', () => { if (!down) point(-1); });
  canvas.addEventListener('blur', () => point(-1));
  canvas.addEventListener('keydown', event => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) {
      const from = here >= 0 ? here : chosen >= 0 ? chosen : closest(data.width / 2, data.height / 2, data.width);
      let best = -1, least = Infinity;
      for (let i = 0; i < count && (here >= 0 || chosen >= 0); i++) {
        if (i === from || !visible(i)) continue;
        const dx = data.places[i][0] - data.places[from][0], dy = data.places[i][1] - data.places[from][1];
        const ahead = dx * way[0] + dy * way[1], aside = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
        if (ahead > 0 && ahead + 2 * aside < least) { best = i; least = ahead + 2 * aside; }
      }
      point(best >= 0 ? best : from);
    } else if (event.key === 'Enter' || event.key === ' ') { if (here >= 0) pick(here); }
    else if (event.key === 'Escape') { point(-1); pick(-1); }
    else return;
    event.preventDefault();
  });
  brushButton.addEventListener('click', () => {
    const on = brushButton.getAttribute('aria-pressed') !== 'true';
    brushButton.setAttribute('aria-pressed', on);
    canvas.classList.toggle('brushing', on);
  });
  map.addEventListener('alone', event => { alone = event.detail; choose(-1, new Set()); picked.hidden = true; drawGround(); point(-1); });

  const fit = () => {
    if (!canvas.clientWidth) return;  // printed
    const dense = Math.min(2, window.devicePixelRatio || 1);
    canvas.width = Math.round(canvas.clientWidth * dense);
    canvas.height = Math.round(canvas.width * data.height / data.width);
    readColours();
    drawGround();
    draw();
  };
  canvas.hidden = false;
  map.querySelector('.tools').hidden = false;
  map.classList.add('live');
  new ResizeObserver(fit).observe(canvas);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', fit);
}
