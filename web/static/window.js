// What the pages of the window on a computer do beyond links and forms. Every
// page works without it.
(() => {
  const all = (selector, root = document) => root.querySelectorAll(selector);

  // An open page keeps the window's program running, and says so when it has
  // ended all the same.
  const main = document.querySelector('[data-alive]');
  const ended = document.querySelector('[data-ended]');
  setInterval(async () => {
    try {
      ended.hidden = (await fetch(main.dataset.alive)).ok;
    } catch {
      ended.hidden = false;
    }
  }, 60000);

  // A form that sends itself: at once, or after some seconds.
  for (const form of all('form[data-send]')) {
    setTimeout(() => form.requestSubmit(), 1000 * Number(form.dataset.send || 0));
  }

  // A part of the page that changes while something goes on: it is fetched anew
  // until that has ended. Then the page is, or the one that follows it.
  const watch = (part) => {
    setTimeout(async () => {
      let answer;
      try {
        answer = await fetch(location.href, { headers: { Accept: 'text/html' } });
      } catch {
        return; // the window has ended
      }
      const text = await answer.text();
      if (answer.redirected) {
        location.replace(answer.url);
        return;
      }
      const next = new DOMParser().parseFromString(text, 'text/html').getElementById(part.id);
      if (!next || !next.dataset.live || next.dataset.state !== part.dataset.state) {
        location.reload();
        return;
      }
      part.replaceWith(next);
      watch(next);
    }, Number(part.dataset.live));
  };
  for (const part of all('[data-live]')) {
    watch(part);
  }
})();
