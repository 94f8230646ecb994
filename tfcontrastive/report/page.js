// The legend of a chart or a map: a click on a name shows it alone, another click shows all again.
for (const legend of document.querySelectorAll('.legend')) {
  const drawing = legend.parentElement, buttons = [...legend.querySelectorAll('button[data-c]')];
  for (const button of buttons) button.addEventListener('click', () => {
    const only = button.getAttribute('aria-pressed') === 'true' ? null : button.dataset.c;
    for (const other of buttons) other.setAttribute('aria-pressed', other.dataset.c === only);
    for (const part of drawing.querySelectorAll('svg > [data-c]')) {
      part.classList.toggle('away', only !== null && part.dataset.c !== only);
    }
    drawing.dispatchEvent(new CustomEvent('alone', { detail: only === null ? null : Number(only) }));
  });
}
