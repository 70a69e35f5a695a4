// Passkeys: makes one, or proves by one who is there. A box says by data-passkey
// which (enrol, prove), by data-begin and data-finish whom to ask, and by
// data-next where to go afterwards. It is hidden where a browser cannot do it.
(() => {
  if (!window.PublicKeyCredential || !navigator.credentials) {
    return;
  }

  // The server writes bytes as base64url; the browser wants them as bytes.
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

  const known = (list) => (list || []).map((c) => ({ ...c, id: bytes(c.id) }));

  async function enrol(asked) {
    const made = await navigator.credentials.create({
      publicKey: {
        ...asked,
        challenge: bytes(asked.challenge),
        user: { ...asked.user, id: bytes(asked.user.id) },
        excludeCredentials: known(asked.excludeCredentials),
      },
    });
    return answer(made, {
      clientDataJSON: text(made.response.clientDataJSON),
      attestationObject: text(made.response.attestationObject),
      transports: made.response.getTransports ? made.response.getTransports() : [],
    });
  }

  async function prove(asked) {
    const given = await navigator.credentials.get({
      publicKey: { ...asked, challenge: bytes(asked.challenge), allowCredentials: known(asked.allowCredentials) },
    });
    return answer(given, {
      clientDataJSON: text(given.response.clientDataJSON),
      authenticatorData: text(given.response.authenticatorData),
      signature: text(given.response.signature),
      userHandle: given.response.userHandle ? text(given.response.userHandle) : null,
    });
  }

  function answer(credential, response) {
    return { id: credential.id, rawId: text(credential.rawId), type: credential.type, response };
  }

  // What the server refuses it explains, or it says where to go first.
  class Refused extends Error {}

  async function post(url, body) {
    const reply = await fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: body ? JSON.stringify(body) : '',
    });
    const value = await reply.json();
    if (value.next) {
      location.assign(value.next);
    }
    if (!reply.ok) {
      throw new Refused(value.error);
    }
    return value;
  }

  for (const box of document.querySelectorAll('[data-passkey]')) {
    const button = box.querySelector('button');
    const problem = box.querySelector('[role=alert]');
    const field = box.querySelector('input');
    const work = box.dataset.passkey === 'enrol' ? enrol : prove;

    const run = async () => {
      const asked = await post(box.dataset.begin);
      const given = await work(asked.publicKey);
      let finish = box.dataset.finish;
      if (work === enrol) {
        finish += '?' + new URLSearchParams({
          name: (field && field.value.trim()) || box.dataset.name,
          next: box.dataset.next,
        });
      }
      const done = await post(finish, given);
      if (!done.next) {
        location.assign(box.dataset.next);
      }
    };

    button.addEventListener('click', async () => {
      button.disabled = true;
      problem.hidden = true;
      try {
        await run();
      } catch (error) {
        // The browser's own words are in its language, and for programmers.
        problem.textContent = (error instanceof Refused && error.message) || box.dataset.failed;
        problem.hidden = false;
        button.disabled = false;
      }
    });
    box.hidden = false;
  }
})();
