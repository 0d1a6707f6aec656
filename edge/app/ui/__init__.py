"""The touch interface: tokens, theme, kit, shell and screens. The only room that imports Kivy."""
