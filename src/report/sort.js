
// Sorts a table by the column whose heading is clicked; without script the table simply stays as written.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  if (body.rows.length < 2) continue;
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const rising = heading.getAttribute("aria-sort") === "descending" ||
        (!heading.hasAttribute("aria-sort") && !heading.classList.contains("figure"));
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const value = (row) => {
        const cell = row.cells[column];
        return heading.classList.contains("figure") ? Number(cell.dataset.key ?? "-Infinity") : cell.textContent;
      };
      const compare = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
      const rows = [...body.rows].sort((a, b) => (rising ? 1 : -1) * compare(value(a), value(b)));
      body.append(...rows);
    });
  });
}
