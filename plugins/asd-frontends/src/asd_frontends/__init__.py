"""Front ends of asd: mel spectrograms as images, patches and stacked frames, and plain waveforms."""
