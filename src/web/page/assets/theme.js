// Light or dark: as the system has it, until somebody chooses.

import { find } from "./dom.js";

/** The button that goes from one to the other. */
export function themeButton() {
  const button = find("theme", HTMLButtonElement);
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const tell = () => button.setAttribute("aria-pressed", String(isDark()));
  tell();
  system.addEventListener("change", tell);
  button.addEventListener("click", () => {
    const chosen = isDark() ? "light" : "dark";
    root.dataset.theme = chosen;
    tell();
    try {
      localStorage.setItem("theme", chosen);
    } catch {
      // A browser that keeps nothing for this page: it is chosen until it is closed.
    }
  });
}
