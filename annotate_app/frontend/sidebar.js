// Streamlit's sidebar while labeling: folded by the page's own style, unfolded by a class on the document. Streamlit's
// memory of its sidebar is not touched, so the other pages keep it as they have it.

const UNFOLDED = "tiebreak-sidebar";

export function toggleSidebar() {
  const unfolds = document.documentElement.classList.toggle(UNFOLDED);
  // Where somebody has closed Streamlit's own sidebar, or on a phone, there is its own button to open it.
  if (unfolds) document.querySelector("[data-testid=stExpandSidebarButton]")?.click();
  if (unfolds) document.querySelector("[data-testid=stSidebarNav] a, [data-testid=stSidebar] a")?.focus();
}

/** Folds the sidebar, for the next visit of the page. */
export function foldSidebar() {
  document.documentElement.classList.remove(UNFOLDED);
}
