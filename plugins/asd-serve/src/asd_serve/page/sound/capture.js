// The microphone of the browser, as it is: without the filters that are made for speech.

import { texts } from "../texts.js";

const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
const QUIETEST = -100; // dB of full scale

/**
 * Open the microphone.
 * @param {function(Float32Array): void} samples  called with each block
 * @param {function(string): void} [ended]  called if it ends by itself: unplugged, or no longer allowed
 * @returns {Promise<{rate: number, label: string, close: function()}>}  rejected with a line for people
 */
export async function openMicrophone(samples, ended = () => {}) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error(texts.microphone.insecure);
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: RAW });
  } catch (error) {
    throw new Error(texts.microphone.errors[error.name] ?? texts.microphone.failed(error.message));
  }
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule(new URL("capture-worklet.js", import.meta.url));
  } catch (error) {
    stream.getTracks().forEach((track) => track.stop());
    throw new Error(texts.microphone.failed(error.message));
  }
  const source = context.createMediaStreamSource(stream);
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  source.connect(node);
  await context.resume();
  node.port.onmessage = ({ data }) => samples(data);
  const [track] = stream.getAudioTracks();
  const close = () => {
    track.onended = null;
    node.port.onmessage = null;
    stream.getTracks().forEach((each) => each.stop());
    context.close();
  };
  track.onended = () => {
    close();
    ended(texts.microphone.ended);
  };
  return { rate: context.sampleRate, label: track.label, close };
}

/** The level of a block and its peak, in dB of full scale. */
export function levelOf(samples) {
  let [sum, peak] = [0, 0];
  for (const value of samples) {
    sum += value * value;
    peak = Math.max(peak, Math.abs(value));
  }
  const decibels = (value) => Math.max(QUIETEST, 20 * Math.log10(value));
  return { level: decibels(Math.sqrt(sum / samples.length)), peak: decibels(peak) };
}

/** 16-bit samples, lowest byte first. */
export function pcm(samples) {
  const bytes = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((value, at) => bytes.setInt16(at * 2, Math.max(-1, Math.min(1, value)) * 32767, true));
  return bytes.buffer;
}

/** A WAV file of blocks of samples. */
export function wav(blocks, rate, name) {
  const parts = blocks.map(pcm);
  const length = parts.reduce((sum, each) => sum + each.byteLength, 0);
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, word) => [...word].forEach((letter, index) => header.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + length, true);
  text(8, "WAVEfmt ");
  [[16, 16], [24, rate], [28, rate * 2], [40, length]].forEach(([at, value]) => header.setUint32(at, value, true));
  [[20, 1], [22, 1], [32, 2], [34, 16]].forEach(([at, value]) => header.setUint16(at, value, true));
  text(36, "data");
  return new File([header, ...parts], name, { type: "audio/wav" });
}
