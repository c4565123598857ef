"use strict";
// Shows the samples of one task. Without it all are shown, and there is nothing to choose.
const choice = document.getElementById("task");
if (choice) {
  const articles = [...document.querySelectorAll("article[data-task]")];
  const samples = (those) => those.flatMap((each) => [...each.querySelectorAll(".sample")]).length;
  const show = () => {
    for (const each of articles) {
      each.hidden = choice.value !== "" && each.dataset.task !== choice.value;
      if (each.hidden) each.querySelectorAll("audio").forEach((player) => player.pause());
    }
    const shown = samples(articles.filter((each) => !each.hidden));
    document.getElementById("shown").textContent = `${shown} of ${samples(articles)} samples`;
  };
  choice.addEventListener("change", show);
  document.getElementById("filter").hidden = false;
  show();
}
