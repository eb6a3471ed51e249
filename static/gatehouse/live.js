// A part of the page that refreshes itself never takes away what a person has open or is typing.
(() => {
  const changed = (field) => {
    if (field.tagName === "SELECT") return field.selectedIndex !== Math.max(0, [...field.options].findIndex((o) => o.defaultSelected));
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    return field.type !== "hidden" && field.value !== field.defaultValue;
  };
  const inUse = (part) =>
    part.querySelector("details[open], [role=alert]") || part.contains(document.activeElement) || [...part.querySelectorAll("input, textarea, select")].some(changed);
  const refreshes = (part) => part.matches("[hx-trigger^='every']");
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (refreshes(event.target) && inUse(event.target)) event.preventDefault();
  });
  // Parts beside it come with the same answer; each waits by itself.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    if (inUse(event.detail.target)) event.preventDefault();
  });
  // The session has ended: the answer is the sign-in page, which belongs into the whole window.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!refreshes(event.target) || !event.detail.xhr.responseURL) return;
    const asked = new URL(event.target.getAttribute("hx-get"), location.href).pathname;
    if (new URL(event.detail.xhr.responseURL).pathname === asked) return;
    event.preventDefault();
    location.reload();
  });
  // No answer: say so, and go on trying.
  const mark = (stale) => (event) => { if (refreshes(event.target)) event.target.toggleAttribute("data-stale", stale); };
  document.addEventListener("htmx:sendError", mark(true));
  document.addEventListener("htmx:responseError", mark(true));
  document.addEventListener("htmx:afterSwap", mark(false));
  // On a narrow screen the places are behind a button.
  const menu = document.querySelector(".rail .menu");
  const open = (wanted) => menu.setAttribute("aria-expanded", wanted);
  menu?.addEventListener("click", () => open(menu.getAttribute("aria-expanded") !== "true"));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || menu?.getAttribute("aria-expanded") !== "true") return;
    open(false);
    menu.focus();
  });
})();
