"""Autoencoders that learn to reconstruct normal sound; what they reconstruct badly is anomalous.

::

    from asd_autoencoder.detectors import ConvolutionalAutoencoder, DenseAutoencoder

    detector = ConvolutionalAutoencoder(architecture="small", epochs=20).fit(patches)
    scores = detector.score(others)
"""
