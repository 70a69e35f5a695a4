// Sets the theme before the first paint when nobody chose one: the system's.
(() => {
  const root = document.documentElement;
  if (root.dataset.bsTheme) {
    return;
  }
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const follow = () => {
    if (!root.dataset.chosen) {
      root.dataset.bsTheme = dark.matches ? 'dark' : 'light';
    }
  };
  follow();
  dark.addEventListener('change', follow);
})();
