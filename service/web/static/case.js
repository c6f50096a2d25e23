// The page of a case: adds comparison tools, keys and quick opening of ID numbers to a page that works without them.
import { Comparison } from "./comparison.js";
import { keysOfCase } from "./case_keys.js";
import { listenForKeys } from "./keys.js";
import { openNumbersInPlace } from "./numbers.js";
import { leadBack } from "./place.js";

const tools = document.getElementById("compare-tools");
const comparisons = [...document.querySelectorAll("[data-compare]")]
  .filter((root) => root.querySelectorAll(".pair .frame img").length === 2)
  .map((root, place) => new Comparison(root, tools, place + 1));

listenForKeys(keysOfCase(comparisons));
openNumbersInPlace();
leadBack(document.querySelector(".back a"), document.querySelector("form[action='/queue/next']"));
