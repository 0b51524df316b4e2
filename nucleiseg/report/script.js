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

  // One picture, as large as the window.
  const large = one("large");
  let current = null;
  const enlarge = (card) => {
    current = card;
    const picture = card.querySelector(".picture");
    one("large-name").textContent = card.querySelector("h3").textContent;
    one("large-facts").textContent = card.querySelector("figcaption > p").textContent;
    large.querySelector(".stage").replaceChildren(
      ...[...picture.children].map((image) => image.cloneNode()),
    );
    large.classList.toggle("plain", !pressed(picture));
    press(one("large-outlines"), pressed(picture));
    if (!large.open) large.showModal();
  };
  const step = (by) => {
    const visible = cards.map(({ card }) => card).filter((card) => !card.hidden);
    const next = visible[visible.indexOf(current) + by];
    if (next) enlarge(next);
  };
  cards.forEach(({ card }) =>
    card.querySelector(".enlarge").addEventListener("click", () => enlarge(card)),
  );
  one("previous").addEventListener("click", () => step(-1));
  one("next").addEventListener("click", () => step(1));
  one("close").addEventListener("click", () => large.close());
  one("large-outlines").addEventListener("click", () => {
    const picture = current.querySelector(".picture");
    press(picture, !pressed(picture));
    enlarge(current);
  });
  large.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  large.addEventListener("close", () => current.querySelector(".enlarge").focus());

  // Whether the table goes on to the right.
  const wide = document.querySelector(".wide");
  const hint = () => {
    one("hint").hidden = wide.scrollLeft + wide.clientWidth >= wide.scrollWidth - 1;
  };
  wide.addEventListener("scroll", hint, { passive: true });
  window.addEventListener("resize", hint);
  hint();

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
