"""Similarity of images as people see them: SSIM, MS-SSIM and LPIPS."""
