"use strict";
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  const pressed = (button) => button.getAttribute("aria-pressed") === "true";
  const press = (button, on) => button.setAttribute("aria-pressed", String(on));

  const pictures = all(".picture");
  const cards = all(".card").map((card) => ({
    card,
    name: card.querySelector("bdi").textContent.toLowerCase(),
  }));
  const body = document.querySelector("tbody");
  const rows = new Map([...body.rows].map((row) => [row.dataset.image, row]));

  // Outlines: of one picture, or of all.
  const toggle = one("outlines");
  toggle.addEventListener("click", () => {
    press(toggle, !pressed(toggle));
    pictures.forEach((picture) => press(picture, pressed(toggle)));
  });
  pictures.forEach((picture) =>
    picture.addEventListener("click", () => press(picture, !pressed(picture))),
  );

  // What is shown: pictures and their rows alike.
  const flagged = one("flagged");
  const filter = one("filter");
  const show = () => {
    const wanted = filter.value.trim().toLowerCase();
    let count = 0;
    for (const { card, name } of cards) {
      const fits = name.includes(wanted);
      card.hidden = !fits || (pressed(flagged) && !card.classList.contains("flagged"));
      rows.get(card.id).hidden = card.hidden;
      count += !card.hidden;
    }
    one("shown").textContent = count < cards.length ? `${count} of ${cards.length} shown` : "";
  };
  flagged.addEventListener("click", () => {
    press(flagged, !pressed(flagged));
    show();
  });
  filter.addEventListener("input", show);

  // A link to a picture that is not shown shows all again.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#image-"]');
    if (!link) return;
    const card = one(link.hash.slice(1));
    if (card.hidden) {
      filter.value = "";
      press(flagged, false);
      show();
    }
    card.focus({ preventScroll: true });
  });

  // Sorting: rows without a value stay at the end.
  const heads = all("thead th");
  const sorted = (column, sign) => {
    const value = (row) => row.cells[column].dataset.value;
    return [...body.rows].sort((a, b) => {
      if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === "");
      return sign * (value(a) - value(b));
    });
  };
  heads.forEach((head, column) =>
    head.querySelector("button").addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      body.append(...sorted(column, ascending ? 1 : -1));
    }),
  );

  // A reload may keep what was typed.
  show();
  document.documentElement.classList.add("scripted");
})();
