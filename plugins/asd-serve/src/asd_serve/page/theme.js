// A classic script in the head: the chosen theme holds before anything is painted.
(() => {
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch { /* storage may be forbidden: the system's theme holds */ }
})();
