// Finds nuclei in the image in front, or in the rectangle around its selection, and adds their outlines to
// the ROI Manager. For ImageJ 1.52 or newer and Fiji: Plugins > Macros > Run, or drag it onto the main window.
//
// Of a stack the plane and channel that are shown are segmented. The outlines need the package roifile:
// pip install 'nucleiseg[roi]'

program = "nucleiseg";  // the full path where ImageJ does not find it, such as /home/me/venv/bin/nucleiseg
model = "nuclei-fast";  // "nuclei-fast" for fluorescence, "nuclei" for tissue
folder = getDirectory("temp") + "nucleiseg";  // results lie here until the next run

if (nImages == 0) exit("Open an image first.");
image = getImageID();
left = 0;
top = 0;
if (selectionType() >= 0) getSelectionBounds(left, top, width, height);
size = "--scale";
value = "auto";
getPixelSize(unit, pixelWidth, pixelHeight);
if (startsWith(unit, "micron") || unit == "um" || unit == fromCharCode(181) + "m") {
    size = "--mpp";
    value = d2s(pixelWidth, 6);
}

if (!File.exists(folder)) File.makeDirectory(folder);
folder = folder + File.separator;
file = folder + "image.tif";
results = newArray(folder + "image_rois.zip", folder + "image_labels.png", folder + "image_nuclei.csv");
for (i = 0; i < results.length; i++) {
    if (File.exists(results[i])) deleted = File.delete(results[i]);
}
run("Duplicate...", "title=image.tif");
saveAs("Tiff", file);
close();

exec(program, "segment", file, "--output", folder, "--save", "rois,labels,csv", "--model", model, size, value);
if (!File.exists(results[0])) {
    exit("nucleiseg wrote no outlines. In a terminal it says why:\n" + program + " segment " + file + " --output "
        + folder + " --save rois,labels,csv --model " + model + " " + size + " " + value);
}

selectImage(image);
roiManager("reset");
roiManager("open", results[0]);
if (left > 0 || top > 0) roiManager("translate", left, top);
roiManager("show all without labels");
print(roiManager("count") + " nuclei; label image and measurements are in " + folder);
