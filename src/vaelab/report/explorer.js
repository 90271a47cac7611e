// The latent explorer: λ, two dimensions, one strip for each active dimension, the latent map.

const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toPrecision(3);
const dimension = (name, kl) => `z${name}${kl === undefined || kl === null ? "" : `, KL ${kl.toFixed(2)} nats`}`;

function explorer(root) {
  const part = root.closest(".part"), { runs, originals, classes } = DATA[part.dataset.part].explorer;
  const slider = one(".run-slider", root), first = one(".first", root), second = one(".second", root);
  const plane = one(".slice", root), map = one(".map", root), nearest = one(".image-slider", root);
  let run = runs[0], method = null;

  function showDecoded() {
    const row = +first.value, column = +second.value;
    drawCells(one(".decoded", root), [[run.slice, row, column]]);
    [first, second].forEach((input, which) => {
      one(".name", input.closest("label")).textContent = dimension(run.dimensions[which], run.kl?.[which]);
      say(input, signed(run.values[which][+input.value]));
    });
    showPlane(row, column);
  }
  function showPlane(row, column) {
    const sheet = run.slice, [w, h] = sheet.cell;
    paint(plane, [picture(sheet.uri)], (context, [image]) => {
      plane.width = sheet.columns * w;
      plane.height = sheet.rows * h;
      context.drawImage(image, 0, 0);
      context.lineWidth = Math.max(2, w / 12);
      context.strokeStyle = "#ff7a00";
      context.strokeRect(column * w, row * h, w, h);
    });
  }
  function showStrips() {
    const box = one(".strips", root);
    box.replaceChildren();
    if (!run.strips) return box.append(make("p", "No dimension is active: the posterior has collapsed, and no slider would change the image."));
    run.stripDimensions.forEach((name, row) => {
      const label = make("label", dimension(name, run.stripKl?.[row])), canvas = make("canvas"), input = make("input");
      Object.assign(input, { type: "range", min: 0, max: run.strips.columns - 1, value: (run.strips.columns - 1) / 2 });
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Decoded with z${name} moved`);
      const update = () => {
        drawCells(canvas, [[run.strips, row, +input.value]]);
        say(input, signed(run.stripValues[row][+input.value]));
      };
      input.addEventListener("input", update);
      label.append(canvas, input, make("output"));
      box.append(label);
      update();
    });
  }
  if (innerWidth < 700) one(".strips-box", root).open = false;

  function showMethods() {
    const methods = Object.keys(run.maps), box = one(".methods", root);
    method = methods.includes(method) ? method : methods[0];
    all("label", box).forEach((label) => label.remove());
    for (const name of methods) {
      const label = make("label"), input = Object.assign(make("input"), { type: "radio", name: `${part.id}-method`, value: name, checked: name === method });
      input.addEventListener("change", () => { method = name; showMap(); });
      label.append(input, ` ${name}`);
      box.append(label);
    }
  }
  function showMap() {
    const points = run.maps[method];
    map.hidden = nearest.disabled = !points;
    if (!points) return;
    const groups = points.label ? [...new Set(points.label)].sort((a, b) => a - b) : [null];
    const palette = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8a8a8a"];
    const symbols = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "circle-open", "square-open", "diamond-open", "triangle-up-open", "cross-open"];
    const traces = groups.map((group, place) => {
      const own = points.at.flatMap((_, i) => (group === null || points.label[i] === group ? [i] : []));
      return { type: "scatter", mode: "markers", name: String(classes[group] ?? group ?? "test images").replaceAll("&", "&amp;").replaceAll("<", "&lt;"),
        x: own.map((i) => points.x[i]), y: own.map((i) => points.y[i]), customdata: own,
        marker: { size: 8, color: palette[place % palette.length], symbol: symbols[place % symbols.length] }, hoverinfo: "none" };
    });
    traces.push({ type: "scatter", mode: "markers", x: [], y: [], showlegend: false, hoverinfo: "skip", marker: { size: 18, symbol: "circle-open", color: "#ff7a00", line: { width: 3 } } });
    const layout = { margin: { l: 44, r: 8, t: 8, b: 40 }, showlegend: groups[0] !== null, legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      xaxis: { title: { text: `${method} 1` }, zeroline: false }, yaxis: { title: { text: `${method} 2` }, zeroline: false } };
    map.drawn = Plotly.react(map, traces, layout, CONFIG).then(() => Plotly.relayout(map, themed()));
    map.drawn.then(() => {
      map.removeAllListeners("plotly_hover");
      map.on("plotly_hover", (event) => { nearest.value = event.points[0].customdata; showPoint(); });
    });
    nearest.max = points.at.length - 1;
    showPoint();
  }
  function showPoint() {
    const points = run.maps[method], place = Math.min(+nearest.value, points.at.length - 1), image = points.at[place];
    const sheet = originals[run.originals], row = Math.floor(image / sheet.columns), column = image % sheet.columns;
    drawCells(one(".map-pair", root), [[sheet, row, column], [run.reconstructions, row, column]]);
    const label = points.label ? `, ${classes[points.label[place]] ?? points.label[place]}` : "";
    say(nearest, `test image ${run.index[image]}${label}`);
    map.drawn.then(() => Plotly.restyle(map, { x: [[points.x[place]]], y: [[points.y[place]]] }, [map.data.length - 1]));
  }
  function showRun() {
    run = runs[+slider.value];
    say(slider, run.label);
    for (const input of [first, second]) input.max = run.slice.rows - 1;
    showDecoded();
    showStrips();
    showMethods();
    showMap();
  }
  slider.max = runs.length - 1;
  slider.value = Math.max(0, runs.findIndex((other) => other.run === DATA[part.dataset.part].best));
  slider.addEventListener("input", showRun);
  first.addEventListener("input", showDecoded);
  second.addEventListener("input", showDecoded);
  nearest.addEventListener("input", showPoint);
  plane.addEventListener("click", (event) => {
    const box = plane.getBoundingClientRect();
    first.value = Math.floor(((event.clientY - box.top) / box.height) * run.slice.rows);
    second.value = Math.floor(((event.clientX - box.left) / box.width) * run.slice.columns);
    showDecoded();
  });
  showRun();
}
// A network that is told λ: its decodings of the same codes and images at each λ.
function along(root) {
  const found = DATA[root.closest(".part").dataset.part].explorer.conditioned[+root.dataset.place];
  const slider = one(".along-slider", root);
  const row = (name, place) => drawCells(one(`.along-${name}`, root), Array.from({ length: found[name].columns }, (_, column) => [found[name], place, column]));
  const show = () => {
    const place = +slider.value, numbers = Object.entries(found.numbers[place]).map(([name, value]) => `${name} ${value}`);
    row("reconstruction", place);
    row("sample", place);
    say(slider, `${found.weights[place]}: ${numbers.join(", ")}`);
  };
  row("original", 0);
  slider.addEventListener("input", show);
  show();
}
const approached = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { approached.unobserve(entry.target); (entry.target.matches(".along") ? along : explorer)(entry.target); }
}, { rootMargin: "600px" });
all(".explorer, .along").forEach((root) => approached.observe(root));
