"""Training, export, quantisation and evaluation of the nucleiseg model.

Everything that needs TensorFlow lives here; running a model never does.
"""
