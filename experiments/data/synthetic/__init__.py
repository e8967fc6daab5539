"""Generated pairs with exact flow and occlusion."""
