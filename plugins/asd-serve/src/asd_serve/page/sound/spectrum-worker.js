// Spectrograms beside the page, so that it stays quick.

import { analyse } from "./spectrum.js";

onmessage = ({ data: { id, samples, rate, columns, rows } }) => {
  const found = analyse(samples, rate, columns, rows);
  postMessage({ id, ...found }, [found.levels.buffer]);
};
