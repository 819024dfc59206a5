"""The page's script: the map is panned and zoomed, and shows the image of the point that is chosen."""

JS = """
(function () {
'use strict';
var svg = document.getElementById('plane'), holder = document.getElementById('points');
if (!svg || !holder) return;
var data = JSON.parse(holder.textContent), dots = Array.from(svg.querySelectorAll('circle'));
var xy = dots.map(function (d) { return [+d.getAttribute('cx'), +d.getAttribute('cy')]; });
var seen = document.getElementById('seen'), told = document.getElementById('told');
var side = 600, view = {x: 0, y: 0, w: side}, chosen = -1, only = null, pointers = new Map(), moved = false;
dots.forEach(function (d) { d.querySelector('title').remove(); });
told.textContent = 'Point at the map, or choose a point with the arrow keys.';

function draw() {
  view.w = Math.min(Math.max(view.w, side / 40), side);
  view.x = Math.min(Math.max(view.x, 0), side - view.w);
  view.y = Math.min(Math.max(view.y, 0), side - view.w);
  svg.setAttribute('viewBox', [view.x, view.y, view.w, view.w].join(' '));
  var r = 4 * Math.pow(view.w / side, 0.75);
  dots.forEach(function (d) { d.setAttribute('r', r); });
  svg.style.touchAction = view.w < side ? 'none' : 'pan-y';
}
function zoom(factor, x, y) {
  var w = Math.min(Math.max(view.w / factor, side / 40), side);
  view = {x: x - (x - view.x) * w / view.w, y: y - (y - view.y) * w / view.w, w: w};
  draw();
}
function place(event) {
  var matrix = svg.getScreenCTM().inverse();
  var point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
  return [point.x, point.y];
}
function shown(i) { return only === null || data.labels[i] === only; }
function name(label) { return label < 0 ? 'no label' : data.classes[label]; }
function choose(i) {
  if (i < 0 || i === chosen) return;
  if (chosen >= 0) dots[chosen].classList.remove('on');
  chosen = i;
  dots[i].classList.add('on');
  dots[i].parentNode.appendChild(dots[i]);
  if (data.sheet) {
    var k = Math.max(1, Math.floor(128 / data.tile)), s = seen.style, t = data.tile * k;
    s.width = s.height = t + 'px';
    s.backgroundImage = 'url(' + data.sheet + ')';
    s.backgroundSize = data.columns * t + 'px ' + data.rows * t + 'px';
    s.backgroundPosition = -(i % data.columns) * t + 'px ' + -Math.floor(i / data.columns) * t + 'px';
  }
  var text = name(data.labels[i]);
  if (data.predicted[i] >= 0) {
    text += data.predicted[i] === data.labels[i] ? ', predicted right' : ', predicted ' + name(data.predicted[i]);
  }
  told.textContent = text + ' (' + data.files[i] + ')';
}
function closest(x, y, limit) {
  var best = -1, least = limit * limit;
  xy.forEach(function (p, i) {
    var d = (p[0] - x) * (p[0] - x) + (p[1] - y) * (p[1] - y);
    if (d < least && shown(i)) { least = d; best = i; }
  });
  return best;
}
function step(dx, dy) {
  if (chosen < 0) { choose(closest(view.x + view.w / 2, view.y + view.w / 2, side * 2)); return; }
  var best = -1, least = Infinity, from = xy[chosen];
  xy.forEach(function (p, i) {
    var ahead = (p[0] - from[0]) * dx + (p[1] - from[1]) * dy;
    var aside = Math.abs((p[0] - from[0]) * dy) + Math.abs((p[1] - from[1]) * dx);
    if (i === chosen || !shown(i) || ahead <= 0 || ahead < aside || ahead + aside >= least) return;
    least = ahead + aside;
    best = i;
  });
  choose(best);
  if (best >= 0 && view.w < side) { view.x = xy[best][0] - view.w / 2; view.y = xy[best][1] - view.w / 2; draw(); }
}

svg.addEventListener('wheel', function (event) {
  if (event.deltaY > 0 && view.w >= side) return;
  event.preventDefault();
  var at = place(event);
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), at[0], at[1]);
}, {passive: false});
svg.addEventListener('pointerdown', function (event) {
  pointers.set(event.pointerId, place(event));
  moved = false;
  if (event.pointerType !== 'mouse') { var at = place(event); choose(closest(at[0], at[1], view.w / 15)); }
  svg.setPointerCapture(event.pointerId);
});
svg.addEventListener('pointermove', function (event) {
  var at = place(event), before = pointers.get(event.pointerId);
  if (!before) { choose(closest(at[0], at[1], view.w / 25)); return; }
  if (pointers.size === 1) {
    view.x -= at[0] - before[0];
    view.y -= at[1] - before[1];
    moved = true;
    draw();
    return;
  }
  var other = null;
  pointers.forEach(function (p, id) { if (id !== event.pointerId) other = p; });
  var was = Math.hypot(before[0] - other[0], before[1] - other[1]);
  var is = Math.hypot(at[0] - other[0], at[1] - other[1]);
  if (was > 0 && is > 0) zoom(is / was, other[0], other[1]);
  pointers.set(event.pointerId, place(event));
});
['pointerup', 'pointercancel'].forEach(function (kind) {
  svg.addEventListener(kind, function (event) { pointers.delete(event.pointerId); });
});
svg.addEventListener('keydown', function (event) {
  var arrows = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}, arrow = arrows[event.key];
  var centre = [view.x + view.w / 2, view.y + view.w / 2];
  if (arrow && event.shiftKey) {
    view.x += arrow[0] * view.w / 8;
    view.y += arrow[1] * view.w / 8;
    draw();
  } else if (arrow) { step(arrow[0], arrow[1]);
  } else if (event.key === '+' || event.key === '=') { zoom(1.5, centre[0], centre[1]);
  } else if (event.key === '-') { zoom(1 / 1.5, centre[0], centre[1]);
  } else if (event.key === '0' || event.key === 'Escape') { view = {x: 0, y: 0, w: side}; draw();
  } else return;
  event.preventDefault();
});
document.querySelectorAll('[data-zoom]').forEach(function (button) {
  button.addEventListener('click', function () {
    var factor = +button.dataset.zoom, at = chosen >= 0 ? xy[chosen] : [view.x + view.w / 2, view.y + view.w / 2];
    if (factor) zoom(factor, at[0], at[1]); else { view = {x: 0, y: 0, w: side}; draw(); }
  });
});
document.querySelectorAll('.classes [data-l]').forEach(function (button, i, all) {
  button.setAttribute('aria-pressed', 'false');
  button.addEventListener('click', function () {
    only = only === +button.dataset.l ? null : +button.dataset.l;
    all.forEach(function (b) { b.setAttribute('aria-pressed', String(only === +b.dataset.l)); });
    dots.forEach(function (d) { d.classList.toggle('dim', only !== null && +d.dataset.l !== only); });
  });
});
})();
"""
