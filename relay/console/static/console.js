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
    // The tag of what is shown: if the answer would be the same, it comes without a body and nothing is swapped.
    let shown = null;
    document.addEventListener("htmx:config:request", (event) => {
      if (shown) event.detail.ctx.request.headers["If-None-Match"] = shown;
    });
    document.addEventListener("htmx:after:request", (event) => {
      shown = event.detail.ctx.response.headers.get("ETag");
      away.hidden = true;
    });
    document.addEventListener("htmx:error", () => { away.hidden = false; });
  }

  const rows = document.getElementById("tail");
  if (rows) {
    const MOST_ROWS = 500;
    const held = [];
    const stop = document.getElementById("tail-pause");
    let waits = false;
    const add = (row) => {
      const name = /^\s*<tr id="([^"]+)"/.exec(row);
      // The stream begins with the last ones, which are here already unless they came meanwhile.
      if (name && document.getElementById(name[1])) return;
      rows.insertAdjacentHTML("afterbegin", row);
      while (rows.rows.length > MOST_ROWS) rows.deleteRow(-1);
    };
    stop.hidden = false;
    stop.addEventListener("click", () => {
      waits = !waits;
      stop.textContent = waits ? "Resume" : "Pause";
      stop.setAttribute("aria-pressed", String(waits));
      if (!waits) held.splice(0).forEach(add);
    });
    let source = null;
    const follow = () => {
      if (document.hidden) {
        if (source) source.close();
        source = null;
      } else if (!source) {
        source = new EventSource(rows.dataset.stream);
        source.onmessage = (message) => {
          if (!waits) add(message.data);
          else if (held.push(message.data) > MOST_ROWS) held.shift();
        };
      }
    };
    document.addEventListener("visibilitychange", follow);
    follow();
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
