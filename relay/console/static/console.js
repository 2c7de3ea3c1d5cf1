// What htmx does not do: refresh the live part while somebody looks, pause it, and copy a command. Everything works without.
"use strict";
(() => {
  const EVERY_MS = 2000;
  const live = document.getElementById("live");
  const button = document.getElementById("pause");
  let paused = false;

  if (live && button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      paused = !paused;
      button.textContent = paused ? "Resume" : "Pause";
      button.setAttribute("aria-pressed", String(paused));
      document.body.classList.toggle("paused", paused);
    });
    setInterval(() => {
      if (!paused && !document.hidden) live.dispatchEvent(new Event("look"));
    }, EVERY_MS);
    const away = document.getElementById("away");
    document.addEventListener("htmx:error", () => { away.hidden = false; });
    document.addEventListener("htmx:after:swap", () => { away.hidden = true; });
  }

  document.addEventListener("click", (event) => {
    const copy = event.target.closest("button.copy");
    if (!copy) return;
    const code = copy.parentElement.querySelector("code");
    const selection = getSelection();
    const range = document.createRange();
    range.selectNodeContents(code);
    selection.removeAllRanges();
    selection.addRange(range);
    // Only on https and this machine; what is selected can be copied by hand anywhere.
    if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).catch(() => {});
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  for (const copy of document.querySelectorAll("button.copy")) copy.hidden = false;
})();
