// The bar above MLflow's own pages: its second link leads to the governed page of what is being looked at.
(() => {
  // MLflow's assistant is not open here, so its panel does not open by itself.
  try {
    localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
    localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
  } catch { /* a browser that keeps nothing */ }
  const link = document.querySelector(".gh-bar-page");
  const models = link.getAttribute("href");
  const show = () => {
    const found = location.hash.match(/^#\/models\/([^/?]+)(?:\/versions\/(\d+))?/);
    if (!found) {
      link.href = models;
      link.textContent = "Governed models";
      return;
    }
    const name = decodeURIComponent(found[1]);
    link.href = models + encodeURIComponent(name) + "/" + (found[2] ? "versions/" + found[2] + "/" : "");
    link.textContent = "Governed page of " + name + (found[2] ? ", version " + found[2] : "");
  };
  addEventListener("hashchange", show);
  addEventListener("popstate", show);
  // MLflow moves between its pages without either event.
  const push = history.pushState.bind(history);
  history.pushState = (...args) => { push(...args); show(); };
  const replace = history.replaceState.bind(history);
  history.replaceState = (...args) => { replace(...args); show(); };
  show();
})();
