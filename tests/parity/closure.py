"""A pairwise loss as a closure over query ids, as it is written for Keras 2."""

import tensorflow as tf


def pairwise_binary_crossentropy(query):
    def loss(y_true, y_pred):
        pair_mask = tf.equal(query, tf.transpose(query))
        pair_mask = tf.cast(pair_mask, tf.float32)
        pair_mask_diag = tf.linalg.band_part(tf.ones_like(pair_mask), -1, 0)
        pair_mask_diag = tf.linalg.band_part(pair_mask_diag, 0, 0)
        pair_mask_diag_reverse = 1 - pair_mask_diag
        pair_mask = pair_mask * pair_mask_diag_reverse
        si_minus_sj = y_pred - tf.transpose(y_pred)
        yi_minus_yj = y_true - tf.transpose(y_true)
        yi_minus_yj = tf.maximum(tf.minimum(1.0, yi_minus_yj), -1.0)
        yi_minus_yj = 0.5 * (1 + yi_minus_yj)
        logloss = tf.nn.sigmoid_cross_entropy_with_logits(labels=yi_minus_yj, logits=si_minus_sj)
        num_pairs = tf.reduce_sum(pair_mask)
        loss = pair_mask * logloss
        loss = tf.reduce_sum(loss)
        res = loss / (num_pairs + 0.00001)
        return res

    return loss
