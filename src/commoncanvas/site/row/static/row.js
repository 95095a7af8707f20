// Buttons that copy a text. Without a script, or without the right to write the clipboard, the text can be selected.

const said = document.getElementById("copied");

async function copy(button) {
  const field = document.getElementById(button.dataset.copies);
  field.focus();
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    said.textContent = "Copied.";
    button.focus();
  } catch {
    said.textContent = "The text is selected: press Ctrl+C, or ⌘C, to copy it.";
  }
}

for (const button of document.querySelectorAll("[data-copies]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}

const problem = document.querySelector("[aria-invalid]") ?? document.querySelector("[role=alert]");
if (problem) {
  if (problem.matches("[role=alert]")) problem.tabIndex = -1;
  problem.focus();
}
