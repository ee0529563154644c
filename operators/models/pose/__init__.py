"""Pose estimators behind one interface, and the keypoints that they find."""
