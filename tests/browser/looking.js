// What a reader has before their eyes: the smallest letters, and those that stand out least from what is behind.
() => {
  const parts = (text) => text.match(/[\d.]+/g).map(Number);
  const over = (front, back) => front.slice(0, 3).map((v, i) => v * (front[3] ?? 1) + back[i] * (1 - (front[3] ?? 1)));
  const known = new Map([[null, [255, 255, 255]]]);
  const behind = (element) => {
    if (!known.has(element))
      known.set(element, over(parts(getComputedStyle(element).backgroundColor), behind(element.parentElement)));
    return known.get(element);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const found = { smallest: [Infinity, ""], faintest: [Infinity, ""], width: document.documentElement.scrollWidth };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const svg = element.closest("svg");
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const size = parseFloat(style.fontSize) * scale;
    if (size < found.smallest[0]) found.smallest = [size, text.slice(0, 40)];
    const colour = parts(svg ? style.fill : style.color);
    const seen = contrast(over(colour, behind(element)), behind(element));
    if (seen < found.faintest[0]) found.faintest = [seen, text.slice(0, 40)];
  }
  return found;
}
