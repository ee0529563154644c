"""Pools of instructions, by task and direction, and templates for describing synthesised pairs. All are ours.

A pair's seed picks one of each pool; ten a pool keep a model from learning one sentence by heart.
"""

from __future__ import annotations

DERAIN = (
    "Remove the rain from this image.",
    "Derain the image.",
    "Make this picture look as if it had not been raining.",
    "Clear away the rain streaks.",
    "Restore the clean scene behind the rain.",
    "Take the rain out of the photo and keep everything else.",
    "Get rid of the falling rain.",
    "Show this scene in dry weather, without any rain streaks.",
    "Please erase the rain.",
    "Clean up the rainy photo.",
)
ADD_RAIN = (
    "Add rain to this image.",
    "Make it rain in this picture.",
    "Overlay the scene with rain streaks.",
    "Show this scene in the rain.",
    "Turn this into a photo taken on a rainy day.",
    "Put falling rain in front of the scene and keep everything else.",
    "Let rain fall across the image.",
    "Synthesise rain on this photo.",
    "Please add rain streaks.",
    "Make the weather in this photo rainy.",
)
DESCRIBE_DERAIN = (
    "The rain has been removed: {what} no longer cover the scene, which is otherwise unchanged.",
    "The input image shows {what}; in the output image they are gone and the scene behind them is clear.",
    "The output image is the same scene without rain. What disappeared are {what}.",
    "Deraining: {what} were taken away, and nothing else was altered.",
)
DESCRIBE_ADD_RAIN = (
    "Rain has been added: {what} now cover the scene, which is otherwise unchanged.",
    "The input image is clear; the output image shows the same scene behind {what}.",
    "The output image is the same scene in the rain. What appeared are {what}.",
    "Rain synthesis: {what} were laid over the image, and nothing else was altered.",
)

DENOISE = (
    "Remove the noise from this image.",
    "Denoise the photo.",
    "Clean up the grain.",
    "Make this noisy picture smooth and keep its details.",
    "Restore the clean image behind the noise.",
    "Get rid of the random speckle.",
    "Suppress the sensor noise.",
    "Give me a noise-free version of this image.",
    "Please reduce the noise.",
    "Filter the noise out without blurring edges.",
)
ADD_NOISE = (
    "Add noise to this image.",
    "Make the photo grainy.",
    "Simulate sensor noise.",
    "Corrupt the picture with random noise.",
    "Make it look as if shot at a very high ISO.",
    "Overlay Gaussian noise.",
    "Turn this into a noisy image.",
    "Sprinkle random grain over the whole image.",
    "Please add some noise.",
    "Degrade the photo with noise and change nothing else.",
)
DEBLUR = (
    "Remove the blur from this image.",
    "Deblur the photo.",
    "Make this blurry picture sharp.",
    "Undo the motion blur.",
    "Restore the sharp scene.",
    "Correct the camera shake.",
    "Sharpen this image so that details are readable again.",
    "Give me a crisp version of this picture.",
    "Please fix the blur.",
    "Recover the frame as if nothing had moved.",
)
ADD_BLUR = (
    "Blur this image as if the camera had moved.",
    "Add motion blur.",
    "Simulate camera shake.",
    "Make this sharp photo blurry.",
    "Show what a long exposure by hand would have recorded.",
    "Smear the picture along a direction of movement.",
    "Apply motion blur to the whole scene.",
    "Turn this into a shaken photo.",
    "Please add some blur.",
    "Degrade the photo with motion blur and change nothing else.",
)
RETOUCH = (
    "Retouch this photo.",
    "Improve the colours and tones of this image.",
    "Enhance the picture as a professional would.",
    "Correct exposure, contrast and white balance.",
    "Make this flat photo look vivid and natural.",
    "Give this image an expert edit.",
    "Adjust the tones for a pleasing result.",
    "Bring this photo to life.",
    "Please enhance this picture.",
    "Develop this raw-looking image.",
)
UNRETOUCH = (
    "Undo the retouching of this photo.",
    "Show this image as it came out of the camera.",
    "Flatten the colours and tones of this picture.",
    "Take back the professional edit.",
    "Make this vivid photo look unedited.",
    "Give me the version before enhancement.",
    "Remove the colour grading.",
    "Return the picture to its plain development.",
    "Please revert the enhancement.",
    "Show what this looked like before it was retouched.",
)
LIGHTEN = (
    "Brighten this dark image.",
    "Enhance this low-light photo.",
    "Make the scene visible as if there had been enough light.",
    "Light up the picture.",
    "Recover the details in the dark.",
    "Turn this underexposed shot into a well exposed one.",
    "Correct the low exposure and the noise.",
    "Show this scene in good light.",
    "Please make this photo brighter.",
    "Restore the normal-light version.",
)
DARKEN = (
    "Make this image look as if taken in low light.",
    "Darken the photo.",
    "Underexpose this picture.",
    "Show this scene with far too little light.",
    "Turn this into a low-light photo.",
    "Dim the scene until it is hard to see.",
    "Simulate a dark exposure with its noise.",
    "Let the light go out in this picture.",
    "Please make this photo dark.",
    "Show what a short exposure at night would have recorded.",
)
DESCRIBE_UNDO = (
    "The output image is a restored version of the input image, which suffered from {what}.",
    "{what} was removed from the input image; the scene itself is unchanged.",
    "The input image shows {what}; the output image is the same scene without it.",
    "What was undone is {what}; nothing else was altered.",
)
DESCRIBE_DO = (
    "The output image is a degraded version of the input image, with {what}.",
    "{what} was applied to the input image; the scene itself is unchanged.",
    "The input image is clean; the output image is the same scene with {what}.",
    "What was applied is {what}; nothing else was altered.",
)

TO_DEPTH = (
    "Estimate the depth of this image.",
    "Show the depth map of this scene.",
    "How far away is everything? Draw it as a depth map.",
    "Turn this photo into a depth map.",
    "Predict the distance of each pixel from the camera.",
    "Generate the depth image.",
    "Give me a colour-coded depth map of this picture.",
    "Render the distances in this scene.",
    "Please compute the depth.",
    "Convert the photo into its depth representation.",
)
FROM_DEPTH = (
    "Generate an image from this depth map.",
    "Paint a photo with this depth.",
    "Turn this depth map into a realistic picture.",
    "Make a scene with these distances.",
    "Create a photo that fits the depth map.",
    "Render a natural image from the depth.",
    "Fill this depth map with a real scene.",
    "Imagine the photo behind this depth map.",
    "Please make a picture from this depth.",
    "Synthesise a photo whose depth looks like this.",
)
TO_LABELS = (
    "Segment this image.",
    "Show the semantic segmentation map.",
    "Colour each region by its class.",
    "Turn this photo into a segmentation map.",
    "Label every pixel with its category.",
    "Generate the semantic map of this scene.",
    "What is where? Draw it as a segmentation map.",
    "Give me the class map of this picture.",
    "Please segment the scene.",
    "Parse this image into semantic regions.",
)
FROM_LABELS = (
    "Generate an image from this segmentation map.",
    "Paint a photo with this layout of classes.",
    "Turn this segmentation map into a realistic picture.",
    "Make a scene with these regions.",
    "Create a photo that fits the semantic map.",
    "Render a natural image from the segmentation.",
    "Fill these regions with a real scene.",
    "Imagine the photo behind this segmentation map.",
    "Please make a picture from this segmentation.",
    "Synthesise a photo with this semantic layout.",
)
TO_NORMALS = (
    "Estimate the surface normals of this image.",
    "Show the normal map of this scene.",
    "Which way does each surface face? Draw it as a normal map.",
    "Turn this photo into a normal map.",
    "Predict the surface orientation at each pixel.",
    "Generate the normal image.",
    "Give me a colour-coded normal map of this picture.",
    "Render the orientation of the surfaces.",
    "Please compute the normals.",
    "Convert the photo into its surface normals.",
)
FROM_NORMALS = (
    "Generate an image from this normal map.",
    "Paint a photo with these surface normals.",
    "Turn this normal map into a realistic picture.",
    "Make a scene with surfaces that face this way.",
    "Create a photo that fits the normal map.",
    "Render a natural image from the normals.",
    "Fill this normal map with a real scene.",
    "Imagine the photo behind this normal map.",
    "Please make a picture from these normals.",
    "Synthesise a photo whose surface normals look like this.",
)
TO_EDGES = (
    "Detect the edges of this image.",
    "Show the soft edge map of this scene.",
    "Draw the outlines of this photo.",
    "Turn this photo into an edge map.",
    "Extract the contours.",
    "Generate the HED edge image.",
    "Give me the boundaries in this picture.",
    "Trace the edges.",
    "Please compute the edges.",
    "Convert the photo into its edges.",
)
FROM_EDGES = (
    "Generate an image from this edge map.",
    "Paint a photo with these edges.",
    "Turn these outlines into a realistic picture.",
    "Make a scene with these contours.",
    "Create a photo that fits the edge map.",
    "Render a natural image from the edges.",
    "Fill these outlines with a real scene.",
    "Imagine the photo behind this edge map.",
    "Please make a picture from these edges.",
    "Synthesise a photo whose edges look like this.",
)
TO_LINES = (
    "Detect the straight lines of this image.",
    "Show the line segments of this scene.",
    "Draw the wireframe of this photo.",
    "Turn this photo into a line map.",
    "Extract the straight line segments.",
    "Generate the MLSD line image.",
    "Give me the straight structure of this picture.",
    "Trace the straight lines.",
    "Please compute the line segments.",
    "Convert the photo into its straight lines.",
)
FROM_LINES = (
    "Generate an image from these straight lines.",
    "Paint a photo with this wireframe.",
    "Turn this line map into a realistic picture.",
    "Make a scene with these straight lines.",
    "Create a photo that fits the line segments.",
    "Render a natural image from the lines.",
    "Fill this wireframe with a real scene.",
    "Imagine the photo behind these lines.",
    "Please make a picture from these line segments.",
    "Synthesise a photo whose straight lines look like this.",
)

COMPOSE = (
    "Combine the two images: the layout of the first, the content of the second.",
    "Compose a picture with the first image's layout and the second one's semantics.",
    "Arrange what the second image shows as the first image is arranged.",
    "Keep the first image's structure and take the subject from the second.",
    "Blend the layout of image 1 with the semantics of image 2.",
    "Render the second image's content in the composition of the first.",
    "Use image 1 for where things are, image 2 for what they are.",
    "Merge both: composition from the first, appearance from the second.",
    "Please make one picture out of these two, laid out as the first.",
    "Repaint the first image with what is in the second.",
)

IMITATE = (
    "Fill in the grey parts of the first image after the second.",
    "Complete the masked image; the reference shows what is missing.",
    "Restore the holes, imitating the reference image.",
    "Use the second image to repaint what is masked in the first.",
    "Look at the reference and finish this picture.",
    "The second image shows the same thing: fill the gaps with it.",
    "Replace the grey cells by what the reference suggests.",
    "Imitate the reference inside the masked regions.",
    "Please complete the first image with the help of the second.",
    "Make the first image whole again, guided by the other view.",
)

TRY_ON = (
    "Dress the person in this garment.",
    "Put the garment of the second image on the person of the first.",
    "Let the person wear these clothes.",
    "Show how the garment looks on the person.",
    "Try this garment on.",
    "Complete the person's outfit with the garment shown.",
    "Fill in the clothing with the second image's garment.",
    "Make a photo of the person wearing this.",
    "Please put these clothes on the person.",
    "The person is to wear the garment shown.",
)

POSE = (
    "Show {person} in the same pose.",
    "Make a picture of {person} in the pose of the example.",
    "Draw {person} doing the same with the same posture.",
    "Let {person} take the pose that the two have.",
    "The same posture, but with {person}.",
    "Generate {person} standing or moving exactly as they do.",
    "Please show {person} with the body held in the same way.",
    "Give {person} the pose of these two.",
    "Now the same pose with {person}.",
    "A photo of {person}, posed as in the example.",
)

STYLISE = (
    "Apply the style of the example to this image.",
    "Transfer the example's style to this picture.",
    "Repaint this image in the style shown.",
    "Do to this picture what was done in the example.",
    "Make this image look as the example's output does.",
    "Keep the content and change the style as shown.",
    "Restyle this photo as in the example.",
    "Show this scene in the example's style.",
    "Please stylise this image in the same way.",
    "Render this picture in the style of the example.",
)
