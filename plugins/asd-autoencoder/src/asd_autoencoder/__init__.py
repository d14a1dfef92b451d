"""Autoencoders that learn to reproduce normal sound; what they reproduce badly is anomalous.

::

    from asd_autoencoder.detectors import ConvolutionalAutoencoder, DenseAutoencoder

    detector = ConvolutionalAutoencoder(architecture="small", epochs=20).fit(patches)
    scores = detector.score(others)
"""
